"""R9: editing people and rules while money moves never moves money."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
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
    with GatewayProcess(tmp_path, simulator, policies=_rules(1_000), users=users) as running:
        yield running


@pytest.mark.parametrize(
    ("charges", "edits"), [(40, 12), pytest.param(10_000, 1_000, marks=pytest.mark.torture)]
)
@pytest.mark.timeout(1_800)
async def test_edits_during_charges_move_no_money(
    edited: GatewayProcess, simulator: SimulatorProcess, charges: int, edits: int
) -> None:
    gateway = edited
    before = Decimal(simulator.truth()["charged_usd"])
    left = iter(range(charges))

    async def charge(name: str) -> None:
        async with Client(gateway, name) as client:
            for number in left:
                answer = await client.queue(order(f"{name} {number}"))
                assert answer.status_code == 200, answer.text

    charging = asyncio.gather(*(charge(name) for name in ("anna", "berta") * WORKERS))
    await _edit(gateway, edits, charging)
    await charging
    await settled_down(gateway, 300)
    assert_books_balance(gateway)
    jobs = jobs_of(gateway)
    assert len(jobs) == charges
    assert settled(gateway) == Decimal(simulator.truth()["charged_usd"]) - before
    assert {job.team for job in jobs if job.user == "anna"} >= {"film"}


WORKERS = 4
"""Orders of each user under way at a time."""


async def _edit(gateway: GatewayProcess, edits: int, charging: asyncio.Future[Any]) -> None:
    """Edit people, keys, grants and rules, evenly over the charges, and all of them in the end."""
    key = (gateway.data_dir / "admin.key").read_text().strip()
    async with httpx.AsyncClient(
        base_url=f"{gateway.url}/gateway/v1/admin",
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=60,
    ) as admin:
        for number in range(edits):
            answer = await _edit_once(gateway, admin, number)
            assert answer.status_code in (200, 201), answer.text
            if not charging.done():
                await asyncio.sleep(0.02)


async def _edit_once(
    gateway: GatewayProcess, admin: httpx.AsyncClient, number: int
) -> httpx.Response:
    match number % 6:
        case 0:
            team = ("film", "sound")[number // 6 % 2]
            return await admin.patch("/users/anna", json={"team": team})
        case 1:
            return await admin.post("/users", json={"name": f"new{number}", "team": "film"})
        case 2:
            return await admin.post("/keys", json={"user": "berta", "name": f"key{number}"})
        case 3:
            policy = (None, "other")[number // 6 % 2]
            return await admin.patch("/users/berta", json={"policy": policy})
        case 4:
            grant = {"to": "user:anna", "usd": "1", "window": "all", "why": "an edit"}
            return await admin.post("/grants", json={**grant, "until": "2099-01-01T00:00:00Z"})
        case _:
            gateway.write_policies(_rules((1_000, 2_000)[number // 6 % 2]))
            return await admin.post("/policies/reload", json={})


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
