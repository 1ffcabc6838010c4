"""On a terminal: tables with colours, progress that goes away, prompts that show no secret."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.storage.database import FileLock
from tests.cli.conftest import BILLED, DOUBTED, Place
from tests.gateway_process import ROOT
from tests.simulator_process import SimulatorProcess
from tests.terminal import Terminal

KEY = "vk-CANARY-typed-9e3d"
REFUSED_KEY = "vk-CANARY-refused-77b2"
PROMPT = "The organization's Venice key: "
"""The blank at its end comes once nothing typed is shown any more."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
YELLOW, RED = "\x1b[1;33m", "\x1b[31m"


def terminal(place: Place, *words: str, **settings: str) -> Terminal:
    environment = {**place.process._environment, **settings}
    return Terminal([sys.executable, "-m", "gateway", *words], environment, place.process.folder)


def test_states_have_colours_on_a_terminal_and_none_where_they_are_not_wanted(alone: Place) -> None:
    with terminal(alone, "job", "list") as shown:
        assert shown.end() == 0
    assert f"{YELLOW}in_doubt" in shown.shown
    assert f"{RED}failed_billed" in shown.shown
    with terminal(alone, "job", "list", NO_COLOR="1") as plain:
        assert plain.end() == 0
    assert "\x1b[3" not in plain.shown
    assert DOUBTED in plain.shown


def test_json_has_no_colours_on_a_terminal_either(alone: Place) -> None:
    with terminal(alone, "job", "show", BILLED, "--json") as shown:
        assert shown.end() == 0
    assert COLOUR.sub("", shown.shown) == shown.shown


def test_a_refusal_is_red_and_says_how_to_go_on(alone: Place) -> None:
    with terminal(alone, "user", "add", "bo", "--team", "nobody") as shown:
        assert shown.end() == 1
    assert "\x1b[1;31merror\x1b[0m: There is no team nobody. Known teams: film." in shown.shown


def test_long_work_is_shown_while_it_lasts_and_leaves_nothing_behind(alone: Place) -> None:
    alone.value("backup", "copy.db")
    lock = FileLock(alone.process.data_dir / "gateway.db")
    with terminal(alone, "restore", "copy.db") as shown:
        shown.until("waiting for another command")
        lock.release()
        assert shown.end() == 0
    # The line is erased once it is over.
    assert shown.shown.rindex("\x1b[2K") > shown.shown.rindex("waiting for another command")


class Newcomer:
    """Somebody who sets up a gateway in an empty folder, at a terminal."""

    def __init__(self, path: Path, upstream: str) -> None:
        self.path = path
        self._upstream = upstream

    def init(self) -> Terminal:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "VGW_UPSTREAM_URL": self._upstream,
        }
        words = [sys.executable, "-m", "gateway", "init"]
        return Terminal(words, environment, self.path)

    def key_file(self) -> Path:
        return self.path / "data" / "venice.key"


@pytest.fixture(scope="module")
def venice() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=4, refused_key=[REFUSED_KEY]) as running:
        yield running


@pytest.fixture
def newcomer(tmp_path: Path, venice: SimulatorProcess) -> Newcomer:
    return Newcomer(tmp_path, venice.url)


def test_init_asks_for_the_key_without_showing_it(newcomer: Newcomer) -> None:
    with newcomer.init() as asked:
        asked.until(PROMPT)
        asked.type(KEY)
        assert asked.end() == 0
    assert "balance" in asked.shown
    assert KEY not in asked.shown
    assert newcomer.key_file().read_text() == f"{KEY}\n"
    assert stat.S_IMODE(newcomer.key_file().stat().st_mode) == 0o600


def test_init_asks_before_it_replaces_and_a_no_leaves_all_as_it_was(newcomer: Newcomer) -> None:
    settings = newcomer.path / "gateway.toml"
    settings.write_text('VGW_PORT = "9000"\n')
    for answer, status in (("n", 1), ("y", 0)):
        with newcomer.init() as asked:
            asked.until(PROMPT)
            asked.type(KEY)
            asked.until("Replace it?")
            asked.type(answer)
            assert asked.end() == status
        assert newcomer.key_file().exists() == (status == 0)
    assert "VENICE_API_KEY_FILE" in settings.read_text()


def test_init_refuses_a_key_that_venice_does(newcomer: Newcomer) -> None:
    with newcomer.init() as asked:
        asked.until(PROMPT)
        asked.type(REFUSED_KEY)
        assert asked.end() == 1
    assert "Venice refuses this key. Nothing was written." in asked.shown
    assert list(newcomer.path.iterdir()) == []
