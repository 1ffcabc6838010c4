"""What the command says of itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from gateway import __version__
from tests.gateway_process import ROOT


def test_it_says_which_version_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"venice-gateway {__version__}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == __version__
