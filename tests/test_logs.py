"""R26: a failure is logged with where it happened, never with what was in its variables."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging
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
    logging.getLogger("uvicorn.error").error("a %s failed", "library", exc_info=error)
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
    assert done.stderr.count("a bug of ours") >= 3
    assert "answer" in done.stderr
    assert "CANARY-key" not in done.stderr
    if form == "json":
        events = [json.loads(line) for line in done.stderr.splitlines()]
        assert [event["event"] for event in events] == [
            "request.failed",
            "chore.failed",
            "a library failed",
        ]
        assert [event["level"] for event in events] == ["error"] * 3
        assert events[2]["logger"] == "uvicorn.error"
