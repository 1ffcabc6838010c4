"""R40 on a real gateway whose wall clock is set wrong while it runs, and before it starts again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.missing import missing
from tests.promises.asking import Client, order
from tests.promises.books import assert_books_balance, jobs_of
from tests.simulator_process import SimulatorProcess

LIBRARIES = [
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib").glob("faketime/libfaketimeMT.so.1"),
]
WRONG = ("+1d", "-1h", "+40d", "-1d")
"""Over the end of a day, of a month, wherever clocks are changed; and back."""


def _zone_at_noon() -> str:
    """A time zone whose day is far from its ends: only a jump may reach one."""
    ahead = 12 - datetime.now(UTC).hour
    # By the name's own rule the sign is the other way round.
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    """Says how far the gateway's wall clock is from the machine's."""
    if not LIBRARIES:
        missing("faketime is not installed: a running gateway's clock is NOT set wrong")
    path = tmp_path / "clock"
    path.write_text("+0")
    return path


@pytest.fixture
def clock(clock_file: Path) -> Callable[[str], object]:
    """Sets the gateway's wall clock wrong, from now on."""
    return clock_file.write_text


@pytest.fixture
def gateway(
    simulator: SimulatorProcess, tmp_path: Path, clock_file: Path
) -> Iterator[GatewayProcess]:
    settings = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    rules = with_rules(
        organization={"timezone": _zone_at_noon()},
        policies={"default": {"each_user": {"day": "0.13"}}},
    )
    with GatewayProcess(tmp_path, simulator, policies=rules, settings=settings) as running:
        yield running


async def test_no_wrong_clock_reopens_a_window_or_ends_anything_before_its_time(
    gateway: GatewayProcess, clock: Callable[[str], object]
) -> None:
    gateway.keys["half a day"] = gateway.cli("key", "create", "anna", "--expires", "12h")["key"]
    async with Client(gateway) as anna, Client(gateway, "half a day") as soon:
        first = await anna.queue(order("first"), Idempotency_Key="first")
        queue_id = first.json()["queue_id"]
        await soon.finished(await soon.buy("second"))
        video = await anna.finished(queue_id)
        for wrong in WRONG:
            clock(wrong)
            refused = await anna.queue(order(f"a third, {wrong}"))
            assert (refused.status_code, refused.json()["budget"]["window"]) == (402, "day"), wrong
            assert (await soon.get("/gateway/v1/me")).status_code == 200, wrong
            assert (await anna.retrieve(queue_id)).content == video.content, wrong
            again = await anna.queue(order("first"), Idempotency_Key="first")
            assert (again.content, again.status_code) == (first.content, 200), wrong
        stamps = [datetime.fromisoformat(each["timestamp"]) for each in gateway.events("request")]
        assert max(stamps) - min(stamps) > timedelta(days=40), "its clock was never wrong"

        # Set back, it starts in a day that has been: that is as full as it was.
        clock("-1h")
        gateway.restart()
        assert (await anna.queue(order("an hour earlier"))).status_code == 402
        # A day later it starts in a day of its own, and what was to end by then has ended.
        clock("+1d")
        gateway.restart()
        assert (await soon.get("/gateway/v1/me")).status_code == 401
        assert (await anna.queue(order("a day later"))).status_code == 200
        assert (await anna.retrieve(queue_id)).content == video.content
        # And set back again it goes on in that day: the ledger's time never goes back.
        clock("+0")
        gateway.restart()
        assert (await anna.queue(order("its second"))).status_code == 200
        assert (await anna.queue(order("its third"))).status_code == 402
    moments = [job.created_at for job in jobs_of(gateway)]
    assert moments == sorted(moments)
    assert_books_balance(gateway)
