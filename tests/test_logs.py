"""R26: a failure is logged with where it happened, never with what was in its variables."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from gateway.logs import configure

configure({form!r}, "debug")

def answer(headers):
    raise AttributeError("a bug of ours")

try:
    answer({{"authorization": "Bearer CANARY" + "-key"}})
except AttributeError as error:
    structlog.get_logger("x").error("request.failed", exc_info=error)
    structlog.get_logger("x").exception("chore.failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_failure_in_the_log_shows_its_place_and_no_variable(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(form=form)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count("a bug of ours") >= 2
    assert "answer" in done.stderr
    assert "CANARY-key" not in done.stderr
