"""Promises about limits, on whole processes: what may be spent is spent exactly, and no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import NO_CALLS, PRICE, Client, order, settled_down
from tests.promises.books import assert_books_balance, settled
from tests.simulator_process import SimulatorProcess

ROUNDS_MAX = 200
AWKWARD = ("0.1", "0.085", "1e-7", "0.30000000000000004", "2.675", "0.0000011", "1.005", "4.35")
"""Prices that binary fractions get wrong, or that have more digits than a micro-dollar."""


@pytest.fixture
def tight(simulator: SimulatorProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    """Users of policy `seven` may spend seven orders' price and a little, `pool` all together."""
    seven = {"extends": "default", "each_user": {"total": str(7 * PRICE + Decimal("0.03"))}}
    rules = with_rules(policies={"seven": seven}, organization={"pool": {"total": 200}})
    users: dict[str, str | None] = {f"user{n}": "seven" for n in range(ROUNDS_MAX)}
    with GatewayProcess(tmp_path, simulator, policies=rules, users=users) as running:
        yield running


@pytest.mark.parametrize(
    ("requests", "rounds"), [(60, 2), pytest.param(500, ROUNDS_MAX, marks=pytest.mark.torture)]
)
@pytest.mark.timeout(3600)
async def test_of_simultaneous_orders_exactly_as_many_are_bought_as_the_limit_holds(
    tight: GatewayProcess, simulator: SimulatorProcess, requests: int, rounds: int
) -> None:
    """R2."""
    async with Client(tight) as client:
        for turn in range(rounds):
            before = len(simulator.truth(NO_CALLS)["jobs"])
            bodies = [order(f"round {turn} order {n}") for n in range(requests)]
            own = f"Bearer {tight.keys[f'user{turn}']}"
            answers = await asyncio.gather(*(client.queue(b, authorization=own) for b in bodies))
            assert Counter(a.status_code for a in answers) == {200: 7, 402: requests - 7}
            assert len(simulator.truth(NO_CALLS)["jobs"]) - before == 7
            refused = next(a for a in answers if a.status_code == 402).json()
            assert refused["code"] == "API_KEY_USD_SPEND_LIMIT_EXCEEDED"
            assert refused["budget"]["scope"] == "user"
            assert refused["budget"]["limit_usd"] == "0.450000"
    await settled_down(tight)
    assert_books_balance(tight)


async def test_one_users_orders_never_pass_the_pool_that_all_share(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """R2, for the organization's pool: ten users race for what is enough for eight orders."""
    rules = with_rules(organization={"pool": {"month": str(8 * PRICE)}})
    users: dict[str, str | None] = {f"user{n}": None for n in range(10)}
    with GatewayProcess(tmp_path, simulator, policies=rules, users=users) as gateway:
        clients = [Client(gateway, name) for name in users]
        answers = await asyncio.gather(
            *(c.queue(order(f"pool {i} {n}")) for i, c in enumerate(clients) for n in range(4))
        )
        assert Counter(a.status_code for a in answers) == {200: 8, 402: 32}
        budget = next(a for a in answers if a.status_code == 402).json()["budget"]
        assert budget == {"scope": "organization", "name": budget["name"], "window": "month"}
        for client in clients:
            await client.__aexit__()
        assert_books_balance(gateway)


async def test_awkward_quotes_are_held_rounded_up_and_never_by_a_float(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R5, end to end: what is reserved is the quote's text, rounded up to the micro-dollar."""
    async with Client(gateway) as client:
        for number, text in enumerate(AWKWARD):
            raw = {"status": 200, "text": f'{{"quote":{text}}}', "content_type": "application/json"}
            simulator.faults([{"endpoint": "quote", "action": raw, "before": "answer"}])
            # Another resolution and audio make another question, so no cached answer is used.
            body = order(
                f"awkward {number}",
                model="kling-2.6-pro-text-to-video",
                resolution=None,
                duration=("5s", "10s")[number % 2],
                aspect_ratio=("16:9", "9:16")[number // 2 % 2],
                audio=number < 4,
            )
            answer = await client.queue(body)
            assert answer.status_code == 200, answer.text
            held = Decimal(answer.headers["x-gateway-cost-usd"])
            exact = Decimal(text)
            assert held == exact.quantize(Decimal("0.000001"), rounding="ROUND_CEILING")
    simulator.faults([])
    await settled_down(gateway)
    assert_books_balance(gateway)


async def test_what_the_ledger_settled_is_what_the_upstream_charged(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R4, end to end: after refunds and charges both books show the same sum."""
    await settled_down(gateway)
    before = simulator.truth()
    spent_before = settled(gateway)
    refunded = {"endpoint": "queue", "outcome": "fail_refunded_nested", "times": 3}
    simulator.faults([refunded])
    async with Client(gateway, "carla") as client:
        for number in range(8):
            await client.buy(f"balance {number}")
        await settled_down(gateway)
    after = simulator.truth()
    charged = Decimal(after["charged_usd"]) - Decimal(before["charged_usd"])
    returned = Decimal(after["refunded_usd"]) - Decimal(before["refunded_usd"])
    assert settled(gateway) - spent_before == charged - returned
    assert returned == 3 * PRICE
    assert_books_balance(gateway)
