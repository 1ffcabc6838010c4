"""Promises about Venice's bill: doubt is held until it speaks, and every difference is found."""

from __future__ import annotations

import asyncio
import random
import urllib.request
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.settings import DEFAULT_BILLING_KEY
from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import MODEL, PRICE, Client, eventually, order, settled_down
from tests.promises.books import assert_books_balance, jobs_of, reading, settled
from tests.simulator_process import SimulatorProcess

BILLING = {"VENICE_BILLING_KEY": DEFAULT_BILLING_KEY}
DROPPED = {"drop": True}
ALTERED, STRANGE = Decimal("0.071"), Decimal("0.5")
BETWEEN_SUCCESSES = 4
"""Lost answers in a row: fewer than open the breaker."""


@pytest.fixture
def has_ids() -> bool:
    """Whether the bill's request ids are queue_ids: nobody knows what Venice's are."""
    return True


@pytest.fixture
def billed(has_ids: bool, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that may read the bill of a simulator of its own."""
    options: dict[str, Any] = {"speed": 300, "seed": 1, "no_limits": True}
    if not has_ids:
        options["anonymous_bill"] = True
    with (
        SimulatorProcess(**options) as simulator,
        GatewayProcess(tmp_path, simulator, settings=BILLING) as gateway,
    ):
        yield gateway


def charges(simulator: SimulatorProcess) -> Decimal:
    told = simulator.truth()
    return Decimal(told["charged_usd"]) - Decimal(told["refunded_usd"])


async def ask_in_vain(
    gateway: GatewayProcess, times: int, chance: random.Random
) -> dict[str, bool]:
    """Orders whose answers are lost: the job of each, and whether Venice billed it."""
    rules = [
        {
            "endpoint": "queue",
            "before": stage,
            "match": {"prompt_contains": word},
            "action": DROPPED,
        }
        for stage, word in (("answer", "was billed"), ("accept", "was never"))
    ]
    gateway.simulator.faults(rules)
    fates = [True, False] * (times // 2)
    chance.shuffle(fates)
    found = {}
    async with Client(gateway) as client:
        for number, is_billed in enumerate(fates):
            if number % BETWEEN_SUCCESSES == 0:
                await client.buy(f"well {number}")
            word = "was billed" if is_billed else "was never"
            answer = await client.queue(order(f"{word} {number}"))
            assert answer.status_code == 409, answer.text
            found[answer.json()["job"]] = is_billed
    gateway.simulator.faults([])
    return found


@pytest.mark.parametrize(
    ("times", "has_ids"),
    [
        (24, True),
        pytest.param(1_000, True, marks=pytest.mark.torture),
        pytest.param(1_000, False, marks=pytest.mark.torture),
    ],
)
@pytest.mark.timeout(400)
async def test_doubt_is_held_until_the_bill_ends_it_rightly(
    billed: GatewayProcess, times: int, chance: random.Random
) -> None:
    """R8."""
    fates = await ask_in_vain(billed, times, chance)
    doubts = {job.id for job in jobs_of(billed) if job.state == "in_doubt"}
    assert doubts == set(fates)
    first = billed.cli("reconcile")
    assert first["counts"].get("decide_unbilled", 0) == 0, "silence is no evidence yet"
    assert {job.id for job in jobs_of(billed) if job.state == "in_doubt"} == {
        job_id for job_id, is_billed in fates.items() if not is_billed
    }
    billed.write_policies(with_rules(in_doubt={"release_after": "0s"}))
    billed.reload()
    second = billed.cli("reconcile")
    assert second["counts"]["decide_unbilled"] == times // 2
    await settled_down(billed, 120)
    jobs = {job.id: job for job in jobs_of(billed)}
    for job_id, is_billed in fates.items():
        assert (jobs[job_id].settled == jobs[job_id].quote) is is_billed, jobs[job_id]
        assert not jobs[job_id].in_doubt
    assert settled(billed) == charges(billed.simulator)
    assert second["drift_usd"] == "0.000000"
    assert_books_balance(billed)


@pytest.mark.parametrize(
    ("clean", "planted", "has_ids"),
    [
        (40, 9, True),
        pytest.param(1_000, 50, True, marks=pytest.mark.torture),
        pytest.param(1_000, 50, False, marks=pytest.mark.torture),
    ],
)
@pytest.mark.timeout(400)
async def test_every_planted_difference_is_found_and_no_other(
    billed: GatewayProcess, clean: int, planted: int, has_ids: bool, chance: random.Random
) -> None:
    """R12."""
    async with Client(billed) as client:
        bought = [await client.buy(f"planted {number}") for number in range(clean + planted)]
    await settled_down(billed, 120)
    untouched = billed.cli("reconcile")
    assert untouched["counts"] == {"same": clean + planted}, "no false one in clean rows"
    assert untouched["drift_usd"] == "0.000000"
    third = planted // 3
    altered, missing = set(bought[:third]), set(chance.sample(bought[third:], third))
    strange = planted - 2 * third
    plant(billed.simulator, altered, missing, strange)
    before = entries_of(billed)
    run = billed.cli("reconcile")
    after = entries_of(billed)
    assert after[: len(before)] == before, "what was written stays"
    assert_books_balance(billed)
    foreign = [found["billed_usd"] for found in run["theirs_only"]]
    ours_only = {found["queue_id"] for found in run["ours_only"]}
    left = strange * STRANGE - len(missing) * PRICE
    if has_ids:
        assert {found["queue_id"] for found in run["different"]} == altered
        assert (ours_only, len(foreign)) == (missing, strange)
        corrections = [entry[1:] for entry in after[len(before) :]]
        assert corrections == [("correct", 11_000, "reconcile")] * len(altered)
        assert Decimal(run["corrected_usd"]) == len(altered) * (ALTERED - PRICE)
    else:
        # Without ids a row of another amount is nobody's: it is found on both sides.
        assert ours_only == missing | altered
        assert len(foreign) == strange + len(altered)
        assert len(after) == len(before)
        left += len(altered) * (ALTERED - PRICE)
    assert run["other_currencies"] == {"DIEM": "0.060000"}
    assert Decimal(run["drift_usd"]) == left
    assert billed.metrics()["venice_gateway_bill_drift_usd"] == pytest.approx(float(left))


def plant(simulator: SimulatorProcess, altered: set[str], missing: set[str], strange: int) -> None:
    """Charges that are other than they were, that are gone, and that nobody ordered here."""
    changes: list[dict[str, Any]] = [
        {"queue_id": each, "amount_usd": f"-{ALTERED}"} for each in altered
    ]
    changes += [{"queue_id": each, "amount_usd": None} for each in missing]
    simulator.control("PUT", "/_bill", changes)
    row = {"sku": f"{MODEL}-video-unit", "amount_usd": f"-{STRANGE}"}
    rows: list[dict[str, Any]] = [{**row, "request_id": f"strange-{n}"} for n in range(strange)]
    rows.append({"sku": "zai-org-glm-5-1-llm-output-mtoken", "amount_usd": "-0.06"})
    rows.append(
        {"sku": "zai-org-glm-5-1-llm-output-mtoken", "amount_usd": "-0.06", "currency": "DIEM"}
    )
    simulator.control("POST", "/_bill", rows)


def entries_of(gateway: GatewayProcess) -> list[tuple[Any, ...]]:
    """Every entry, oldest first: id, kind, what it settled, and who made it."""
    with reading(gateway) as connection:
        return connection.execute(
            "SELECT id, kind, settled, actor FROM entries ORDER BY id"
        ).fetchall()


async def test_an_order_that_the_organization_cannot_pay_is_refused_before_it_is_sent(
    tmp_path: Path,
) -> None:
    """What is left at Venice pays for three of forty orders at the same moment."""
    left = 3 * PRICE + Decimal("0.05")
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True, balance_usd=left) as simulator,
        GatewayProcess(tmp_path, simulator) as gateway,
    ):

        async def is_known() -> bool:
            return "org_balance_usd 0.23" in await asyncio.to_thread(_metrics_text, gateway)

        await eventually(is_known)
        async with Client(gateway) as client:
            answers = await asyncio.gather(
                *(client.queue(order(f"payable {number}")) for number in range(40))
            )
            assert Counter(answer.status_code for answer in answers) == {200: 3, 402: 37}
            refused = next(answer for answer in answers if answer.status_code == 402)
            assert refused.json()["code"] == "INSUFFICIENT_BALANCE"
            assert refused.json()["source"] == "gateway"
            assert "0.23" not in refused.text + str(refused.headers)
        assert simulator.truth()["requests"]["queue"] == {"200": 3}
        assert len(jobs_of(gateway)) == 3, "nothing was held for the others"


def _metrics_text(gateway: GatewayProcess) -> str:
    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text
