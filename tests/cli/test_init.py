"""`init` checks a key before it writes anything, and writes over nothing without being told to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.policies import load_rules
from gateway.settings import load_settings
from tests.cli.conftest import Done
from tests.gateway_process import ROOT
from tests.simulator_process import SimulatorProcess

KEY = "vk-CANARY-for-init-8d2f"
REFUSED_KEY = "vk-CANARY-refused-1c77"


@pytest.fixture(scope="module")
def venice() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=3, refused_key=[REFUSED_KEY]) as running:
        yield running


class Folder:
    """An empty place in which `init` is run without a terminal."""

    def __init__(self, path: Path, upstream: str) -> None:
        self.path = path
        self.key_file = path.parent / f"{path.name}.key"
        self.key_file.write_text(f"{KEY}\n")
        self._upstream = upstream

    def init(self, *words: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "init", *words],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "VGW_UPSTREAM_URL": self._upstream,
            },
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert KEY not in done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def files(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()
        )


@pytest.fixture
def folder(tmp_path: Path, venice: SimulatorProcess) -> Folder:
    path = tmp_path / "place"
    path.mkdir()
    return Folder(path, venice.url)


def test_what_it_writes_is_what_a_gateway_starts_with(folder: Folder) -> None:
    done = folder.init("--yes", "--key-file", str(folder.key_file))
    assert done.status == 0, done.error
    assert folder.files() == [
        "data/venice.key",
        "gateway.toml",
        "policies/default.yaml",
        "policies/schema.json",
    ]
    assert stat.S_IMODE((folder.path / "data/venice.key").stat().st_mode) == 0o600
    assert KEY not in (folder.path / "gateway.toml").read_text()
    settings = load_settings({}, cwd=folder.path)
    assert settings.require_api_key().get_secret_value() == KEY
    assert settings.data_dir == folder.path / "data"
    assert not load_rules(settings.policies).warnings


def test_it_says_what_the_key_may_do_and_has_left(folder: Folder) -> None:
    done = folder.init("--yes", "--key-file", str(folder.key_file), "--json")
    assert done.value["models"] > 5
    assert done.value["balance"]["USD"].startswith("1000")
    assert done.value["limits"] == {"RPM": "40"}
    assert "balance" in folder.init("--yes", "--key-file", str(folder.key_file)).out


def test_a_refused_key_is_said_so_and_nothing_is_written(folder: Folder) -> None:
    folder.key_file.write_text(REFUSED_KEY)
    done = folder.init("--yes", "--key-file", str(folder.key_file), "--json")
    assert (done.status, done.out) == (1, "")
    assert "refuses this key" in done.error
    assert REFUSED_KEY not in done.error
    assert folder.files() == []


def test_without_a_terminal_it_says_what_is_missing(folder: Folder) -> None:
    neither = folder.init()
    assert neither.status == 1
    assert "--yes and --key-file PATH" in neither.error
    assert "give --key-file PATH too" in folder.init("--yes").error
    assert folder.files() == []


def test_nothing_is_written_over_unasked(folder: Folder) -> None:
    (folder.path / "gateway.toml").write_text('VGW_PORT = "9000"\n')
    done = folder.init("--yes", "--key-file", str(folder.key_file))
    assert done.status == 1
    assert "gateway.toml is there already" in done.error
    assert folder.files() == ["gateway.toml"]


def test_policies_that_are_there_are_left_alone_and_a_second_run_changes_nothing(
    folder: Folder,
) -> None:
    (folder.path / "policies").mkdir()
    (folder.path / "policies" / "ours.yaml").write_text("version: 1\npolicies: {default: {}}\n")
    words = ("--yes", "--key-file", str(folder.key_file), "--json")
    assert len(folder.init(*words).value["written"]) == 2
    assert folder.files() == ["data/venice.key", "gateway.toml", "policies/ours.yaml"]
    assert folder.init(*words).value["written"] == []


def test_a_key_of_the_gateways_own_is_refused(folder: Folder) -> None:
    folder.key_file.write_text("vgw_0123456789_secret")
    done = folder.init("--yes", "--key-file", str(folder.key_file))
    assert done.status == 1
    assert "vgw_0123456789_secret" not in done.error
    assert folder.files() == []
