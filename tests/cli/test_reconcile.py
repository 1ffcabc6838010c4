"""`reconcile` with and without a gateway, with and without the key that may read the bill."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.cli import reconcile as command
from gateway.simulator.settings import DEFAULT_BILLING_KEY
from tests.cli.conftest import BILLED, DOUBTED, Place
from tests.simulator_process import SimulatorProcess

FOUND = {"job": "job1", "reason": "dearer", "ours_usd": "0.060000", "billed_usd": "0.070000"}


def test_without_the_billing_key_it_is_refused_and_says_how_to_set_it(place: Place) -> None:
    done = place.run("reconcile", "--json")
    assert (done.status, done.out) == (1, "")
    assert "Set VENICE_BILLING_KEY" in done.error


def test_without_a_gateway_it_asks_venice_itself(alone: Place) -> None:
    done = alone.run("reconcile", "--json", VENICE_BILLING_KEY=DEFAULT_BILLING_KEY)
    assert done.status == 0, done.error
    assert [found["job"] for found in done.value["waiting"]] == [DOUBTED, BILLED]
    assert (done.value["by"], done.value["complete"]) == ("admin", True)
    assert alone.acts()[-1] == "reconciliation.run"
    again = alone.run("reconcile", "--csv", VENICE_BILLING_KEY=DEFAULT_BILLING_KEY)
    rows = list(csv.DictReader(io.StringIO(again.out)))
    assert [row["job"] for row in rows] == [DOUBTED, BILLED]
    assert {row["finding"] for row in rows} == {"waiting"}
    shown = alone.run("reconcile", VENICE_BILLING_KEY=DEFAULT_BILLING_KEY)
    assert "drift_usd" in shown.out
    assert DOUBTED in shown.out


def test_a_key_that_may_not_read_the_bill_is_said_so(alone: Place) -> None:
    done = alone.run("reconcile", VENICE_BILLING_KEY="vk-inference-0123456789")
    assert done.status == 1
    assert "Venice refuses VENICE_BILLING_KEY" in done.error
    assert "vk-inference" not in done.out + done.error


def test_the_bill_of_another_upstream_is_not_compared(alone: Place) -> None:
    with SimulatorProcess(seed=7) as other:
        done = alone.run(
            "reconcile", VGW_UPSTREAM_URL=other.url, VENICE_BILLING_KEY=DEFAULT_BILLING_KEY
        )
        assert other.truth()["requests"] == {}
    assert done.status == 1
    assert "belongs to" in done.error


def test_a_date_that_is_none_is_wrong_usage(alone: Place) -> None:
    done = alone.run("reconcile", "--since", "soon", VENICE_BILLING_KEY=DEFAULT_BILLING_KEY)
    assert done.status == 2


def test_the_doctor_says_whether_the_bill_can_be_read(alone: Place) -> None:
    def told(key: str | None) -> tuple[str, str]:
        settings = {} if key is None else {"VENICE_BILLING_KEY": key}
        checks = alone.run("doctor", "--json", **settings).value["checks"]
        (found,) = [check for check in checks if check["name"] == "billing key"]
        return found["status"], found["message"]

    assert "reconciliation with Venice's bill is off" in told(None)[1]
    assert told(DEFAULT_BILLING_KEY)[0] == "ok"
    assert told("vk-inference-0123456789")[0] == "problem"


class Doors:
    """An administration that has compared already."""

    def __init__(self, left_off: int) -> None:
        self.run: dict[str, Any] = {kind: [] for kind in command.KINDS} | {"left_off": left_off}
        self.run["different"] = [FOUND]

    def post(self, path: str, *, body: dict[str, Any]) -> dict[str, Any]:
        assert (path, body) == ("reconciliations", {"since": None})
        return self.run


@pytest.mark.parametrize("left_off", [0, 7])
def test_findings_as_csv_say_on_stderr_where_some_are_left_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left_off: int
) -> None:
    @contextmanager
    def administration(**_: Any) -> Iterator[Doors]:
        yield Doors(left_off)

    monkeypatch.setattr(command, "administration", administration)
    command.reconcile(as_csv=True)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "finding,job,queue_id,request_id,user,model,at,ours_usd,billed_usd,act,reason",
        "different,job1,,,,,,0.060000,0.070000,,dearer",
    ]
    assert ("7 more are counted and not listed" in printed.err) == bool(left_off)
