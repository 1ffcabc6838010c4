"""What the command says of itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from gateway import __version__
from gateway.api.described import ADMIN, SAID
from tests.gateway_process import ROOT
from tests.test_docs import options

LISTS = {
    "admin-key list": "admin-keys",
    "audit list": "audit",
    "grant list": "grants",
    "job list": "jobs",
    "key list": "keys",
    "ledger export": "ledger/entries",
    "spend": "usage",
    "team list": "teams",
    "user list": "users",
    "video list": "videos",
}
"""Commands that list, and the doors that they ask."""
HOW = {"help", "json", "csv", "format", "before", "after", "limit"}
"""What is said of how a list is read, and not of what is in it."""


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


@pytest.mark.parametrize("command", LISTS)
def test_a_list_is_filtered_by_its_command_as_by_its_door(command: str) -> None:
    form = SAID["GET", f"{ADMIN}/{LISTS[command]}"].query
    assert form is not None
    filters = {option.removeprefix("--") for option in options()[command]}
    assert filters - HOW == set(form.model_fields) - HOW
