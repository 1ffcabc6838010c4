"""R9: editing people and rules while money moves never moves money."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import Client, order, settled_down
from tests.promises.books import assert_books_balance, jobs_of, settled
from tests.simulator_process import SimulatorProcess

TEAMS = {"film": {"policy": "default"}, "sound": {"policy": "default"}}


def _rules(amount: int) -> dict[str, Any]:
    policy = {"each_user": {"day": amount, "month": 2 * amount}}
    return with_rules(teams=TEAMS, policies={"default": policy, "other": {"extends": "default"}})


@pytest.fixture
def edited(simulator: SimulatorProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    users: dict[str, str | None] = {"anna": None, "berta": None}
    with GatewayProcess(tmp_path, simulator, policies=_rules(50), users=users) as running:
        yield running


@pytest.mark.parametrize(
    ("charges", "edits"), [(40, 1), pytest.param(2_000, 40, marks=pytest.mark.torture)]
)
async def test_edits_during_charges_move_no_money(
    edited: GatewayProcess, simulator: SimulatorProcess, charges: int, edits: int
) -> None:
    gateway = edited
    before = Decimal(simulator.truth()["charged_usd"])

    async def charge(name: str) -> None:
        async with Client(gateway, name) as client:
            for number in range(charges // 2):
                answer = await client.queue(order(f"{name} {number}"))
                assert answer.status_code == 200, answer.text
                await asyncio.sleep(0.05)

    async def edit() -> None:
        for number in range(edits):
            for words in (
                ("user", "move", "anna", "--team", ("film", "sound")[number % 2]),
                ("user", "add", f"new{number}", "--team", "film"),
                ("key", "create", "berta", "--name", f"key{number}"),
            ):
                await asyncio.to_thread(gateway.cli, *words)
            gateway.write_policies(_rules((40, 60)[number % 2]))
            await asyncio.to_thread(gateway.reload)

    await asyncio.gather(charge("anna"), charge("berta"), edit())
    await settled_down(gateway, 60)
    assert_books_balance(gateway)
    assert settled(gateway) == Decimal(simulator.truth()["charged_usd"]) - before
    assert {job.team for job in jobs_of(gateway) if job.user == "anna"} >= {"film"}


async def test_a_limit_lowered_under_what_is_spent_undoes_nothing(
    edited: GatewayProcess,
) -> None:
    gateway = edited
    async with Client(gateway) as client:
        queue_id = await client.buy("before")
        gateway.write_policies(_rules(0))
        await asyncio.to_thread(gateway.reload)
        refused = await client.queue(order("after"))
        assert refused.status_code == 402
        video = await client.finished(queue_id)
        assert video.headers["content-type"] == "video/mp4"
    await settled_down(gateway)
    assert_books_balance(gateway)
    assert [str(job.state) for job in jobs_of(gateway)] == ["stored"]
