"""`python -m grafana.build`: writes the dashboards as the JSON that Grafana is provisioned with.

It asks nothing of a running Grafana or gateway.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.pages import ANNOTATIONS, FOLDER, PAGES
from grafana.sdk import dashboard_of


def written() -> dict[Path, str]:
    """Every file of the folder, with its text."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {
        FOLDER / f"{page.uid.removeprefix('venice-gateway-')}.json": encoder.encode(
            dashboard_of(page, ANNOTATIONS)
        )
        + "\n"
        for page in PAGES
    }


def main() -> None:
    """Put the files of now in place of those of before."""
    files = written()
    for old in set(FOLDER.glob("*.json")) - set(files):
        old.unlink()
    for path, text in files.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
