"""The health check finds the gateway by its settings, whatever else they say, and is light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.liveness import COMMAND, listening_url
from gateway.settings import load_settings
from tests.cli.conftest import Place
from tests.gateway_process import ROOT

FILE = 'vgw_port = 9000\nVGW_HOST = "::1"\n'


@pytest.mark.parametrize("file", ["", FILE], ids=["no file", "a file"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"VGW_PORT": "8443"},
        {"VGW_PORT": ""},
        {"VGW_HOST": "0.0.0.0", "VGW_PORT": "81"},
        {"VGW_HOST": "::"},
        {"VGW_HOST": "[::1]"},
        {"VGW_HOST": "localhost"},
        {"VGW_PORT": "tcp://10.0.0.1:8080"},
    ],
    ids=repr,
)
def test_it_asks_where_the_gateway_listens(
    tmp_path: Path, file: str, environment: dict[str, str]
) -> None:
    if file:
        (tmp_path / "gateway.toml").write_text(file)
    settings = load_settings(environment, simulator=True, serves=False, cwd=tmp_path)
    assert listening_url(environment, tmp_path) == settings.listening_url


def test_a_settings_file_that_cannot_be_read_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("no = settings = at all")
    assert listening_url({}, tmp_path) == "http://127.0.0.1:8080"


def test_it_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; from gateway.cli import main\n"
        f"sys.argv = ['venice-gateway', *{COMMAND}]\n"
        "try: main()\nexcept SystemExit as end: print(end.code)\n"
        "print([name for name in ('typer', 'pydantic', 'httpx', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "VGW_PORT": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    told, status, imported = done.stdout.splitlines()
    assert told.startswith("problem  gateway")
    assert (status, imported) == ("1", "[]")


def test_both_spellings_say_the_same_and_no_proxy_is_asked(alone: Place) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    assert alone.run(*COMMAND, **proxy).status == 1
    alone.process.start()
    try:
        quick, whole = alone.run(*COMMAND, **proxy), alone.run(*COMMAND, "--json", **proxy)
    finally:
        alone.process.terminate()
    assert (quick.status, quick.error) == (0, "")
    assert whole.value["ok"]
    assert whole.value["checks"][0]["message"] in quick.out
