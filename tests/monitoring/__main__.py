"""`make pictures`: lets an organization play and puts what dashboards show of it into the docs.

Needs a Prometheus, and Chromium to turn drawings into pictures.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from grafana.pages import PAGES
from grafana.vocabulary import Page
from tests.monitoring.asked import ROOT
from tests.monitoring.drawing import WIDTH, legend_of, svg_of
from tests.monitoring.palette import reduced
from tests.monitoring.stand import Series, Stand, stand

PAGE = ROOT / "docs" / "dashboards.md"
IMAGES = ROOT / "docs" / "images"
PLAY_SECONDS = 150.0
PICTURE_BYTES_MAX = 150_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TEXT = """# The dashboards

What `make pictures` saw: the demonstration with chaos, watched by a real Prometheus for a few
minutes, drawn as Grafana lays it out. The last column says how many series each panel had; a panel
without any would be a mistake. How to have them: [watch the gateway](how-to/metrics.md).
"""


def main() -> None:
    """Play, ask every panel, draw, and write."""
    parser = argparse.ArgumentParser("tests.monitoring", description=__doc__)
    parser.add_argument("--seconds", type=float, default=PLAY_SECONDS)
    seconds = parser.parse_args().seconds
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or shutil.which("prometheus") is None:
        raise SystemExit("Pictures need a prometheus and a chromium on the PATH.")
    IMAGES.mkdir(exist_ok=True)
    parts = [_TEXT]
    with TemporaryDirectory(prefix="pictures-") as name:
        folder = Path(name)
        with stand(folder, seconds) as found:
            answers = {page.uid: _asked(found, page) for page in PAGES}
        for page in PAGES:
            picture = IMAGES / f"{page.uid}.png"
            _photograph(browser, folder, svg_of(page, answers[page.uid]), picture)
            parts.append(_section(page, answers[page.uid], picture))
    PAGE.write_text("\n".join(parts), "utf-8")


Answers = dict[str, list[tuple[str, Series]]]


def _asked(found: Stand, page: Page) -> Answers:
    return {
        panel.title: [
            (legend_of(query.legend, one.labels), one)
            for query in panel.queries
            for one in found.since_the_beginning(query.expr)
        ]
        for panel in page.panels
    }


def _section(page: Page, answers: Answers, picture: Path) -> str:
    lines = [f"## {page.title.partition(': ')[2].capitalize()}", "", page.description, ""]
    lines += [f"![{page.title}](images/{picture.name})", ""]
    lines += ["| panel | the question it answers | series |", "|---|---|---|"]
    lines += [f"| {p.title} | {p.question} | {len(answers[p.title])} |" for p in page.panels]
    return "\n".join([*lines, ""])


def _photograph(browser: str, folder: Path, svg: str, picture: Path) -> None:
    source = folder / "page.svg"
    source.write_text(svg, "utf-8")
    height = svg.partition('height="')[2].partition('"')[0]
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{height}",
            f"--screenshot={picture}", source.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    small = reduced(picture.read_bytes())
    assert len(small) <= PICTURE_BYTES_MAX, f"{picture.name} has {len(small)} bytes"
    picture.write_bytes(small)


if __name__ == "__main__":
    main()
