"""R9: editing people and rules while money moves never moves money."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import Client, order, settled_down
from tests.promises.books import assert_books_balance, jobs_of, reading, settled
from tests.simulator_process import SimulatorProcess

TEAMS = {"film": {"policy": "default"}, "sound": {"policy": "default"}}
ZONES = ("Pacific/Kiritimati", "America/Los_Angeles")
"""Where it is never the same day."""
WORKERS = 4
"""Orders of each user under way at a time."""
TURN = 12
"""Edits of as many kinds, which are then made anew."""
ACTS = {
    *("user.add", "user.change", "user.disable", "user.enable"),
    *("key.create", "key.rotate", "key.revoke", "grant.add", "grant.revoke", "policy.reload"),
}
"""What they are in the words of the audit."""


def _rules(amount: int, timezone: str = "UTC") -> dict[str, Any]:
    policy = {"each_user": {"day": amount, "month": 2 * amount}}
    return with_rules(
        organization={"timezone": timezone},
        teams=TEAMS,
        policies={"default": policy, "other": {"extends": "default"}},
    )


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
    gateway, pace = edited, Pace(charges, edits)
    before = Decimal(simulator.truth()["charged_usd"])
    left = iter(range(charges))

    async def charge(name: str) -> None:
        async with Client(gateway, name) as client:
            for number in left:
                await pace.begin_charge(number)
                answer = await client.queue(order(f"{name} {number}"))
                pace.end_charge()
                assert answer.status_code == 200, answer.text

    async with asyncio.TaskGroup() as work:
        for name in ("anna", "berta") * WORKERS:
            work.create_task(charge(name))
        work.create_task(_edit(gateway, pace))
    assert pace.edits_beside_charges == edits
    await settled_down(gateway, 300)
    assert_books_balance(gateway)
    jobs = jobs_of(gateway)
    assert len(jobs) == charges
    assert settled(gateway) == Decimal(simulator.truth()["charged_usd"]) - before
    assert {job.team for job in jobs if job.user == "anna"} >= {"film"}
    assert len({job.policy_version for job in jobs}) >= 3
    acts = _acts(gateway)
    assert (acts.total(), set(acts)) == (edits, ACTS)


class Pace:
    """Has edits and charges go on side by side: to each edit belong as many charges, the first of
    which asks for it, and the last of which waits for it."""

    def __init__(self, charges: int, edits: int) -> None:
        assert charges >= 2 * edits, "a charge would wait for an edit that waits for it"
        self._charges, self._edits = charges, edits
        self._asked = [asyncio.Event() for _ in range(edits)]
        self._made = [asyncio.Event() for _ in range(edits)]
        self._under_way = 0
        self.edits_beside_charges = 0

    async def begin_charge(self, number: int) -> None:
        """Return when it may."""
        made_before = (number + 1) * self._edits // self._charges
        if made_before:
            await self._made[made_before - 1].wait()
        self._under_way += 1
        self._asked[number * self._edits // self._charges].set()

    def end_charge(self) -> None:
        """Its answer is here."""
        self._under_way -= 1

    async def edits(self) -> AsyncIterator[int]:
        """The number of each edit as soon as it is to be made."""
        for number in range(self._edits):
            await self._asked[number].wait()
            self.edits_beside_charges += self._under_way > 0
            yield number
            self._made[number].set()


async def _edit(gateway: GatewayProcess, pace: Pace) -> None:
    """Edit people, keys, grants and rules, turn by turn: what one edit makes a later one ends."""
    root = (gateway.data_dir / "admin.key").read_text().strip()
    made = {"key": "", "grant": ""}
    async with httpx.AsyncClient(
        base_url=f"{gateway.url}/gateway/v1/admin",
        headers={"authorization": f"Bearer {root}"},
        trust_env=False,
        timeout=60,
    ) as admin:
        async for number in pace.edits():
            turn, step = divmod(number, TURN)
            if step in (5, 11):
                gateway.write_policies(_rules_of(turn, has_other_zone=step == 11))
            method, path, body = _edits_of(turn, **made)[step]
            answer = await admin.request(method, path, json=body)
            assert answer.status_code in (200, 201), answer.text
            for kind in made:
                if path.startswith(f"/{kind}s") and answer.status_code == 201:
                    made[kind] = answer.json()["id"]


def _edits_of(turn: int, key: str, grant: str) -> list[tuple[str, str, dict[str, Any]]]:
    """The doors of one turn with their bodies; no client orders with the key, or as the new user,
    that these name."""
    is_odd, new = turn % 2, f"new{turn}"
    grants = {"to": "user:anna", "usd": "1", "window": "all", "until": "2099-01-01T00:00:00Z"}
    return [
        ("PATCH", "/users/anna", {"team": ("film", "sound")[is_odd]}),
        ("POST", "/users", {"name": new, "team": "film"}),
        ("POST", "/keys", {"user": "berta", "name": f"key{turn}"}),
        ("PATCH", "/users/berta", {"policy": ("other", None)[is_odd]}),
        ("POST", "/grants", {**grants, "why": "an edit"}),
        ("POST", "/policies/reload", {}),
        ("POST", f"/keys/{key}/rotate", {}),
        ("POST", f"/keys/{key}/revoke", {}),
        ("PATCH", f"/users/{new}", {"disabled": True}),
        ("PATCH", f"/users/{new}", {"disabled": False}),
        ("POST", f"/grants/{grant}/revoke", {}),
        ("POST", "/policies/reload", {}),
    ]


def _rules_of(turn: int, *, has_other_zone: bool) -> dict[str, Any]:
    """Each time other limits than before, then another time zone."""
    zone = ZONES[(turn + has_other_zone) % 2]
    return _rules((2_000, 1_000)[turn % 2], zone)


def _acts(gateway: GatewayProcess) -> Counter[str]:
    """What was audited, by how often."""
    with reading(gateway) as connection:
        return Counter(act for (act,) in connection.execute("SELECT act FROM audit"))


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
