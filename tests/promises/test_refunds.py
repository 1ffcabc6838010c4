"""R11: money comes back where Venice says `credits_refunded: true`, and nowhere else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import PRICE, Client, order, settled_down
from tests.promises.books import MICROS, assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

FATES = {
    "fail_refunded_nested": "failed_refunded",
    "fail_refunded_flat": "failed_refunded",
    "fail_billed": "failed_billed",
    "failed_status": "failed_billed",
    "placeholder": "stored",
    "completed": "stored",
}
"""How Venice ends a job, and how it then stands here."""
AT_ONCE = 25
POLL_FAULTS = [
    {"endpoint": "retrieve", "before": "answer", "probability": 0.2, "action": {"drop": True}},
    {"endpoint": "retrieve", "before": "answer", "probability": 0.1, "action": {"status": 504}},
    {"endpoint": "retrieve", "before": "answer", "probability": 0.1, "action": {"status": 500}},
]
"""Polls that fail, which says nothing about the job."""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[GatewayProcess, SimulatorProcess]]:
    """A gateway whose books are compared with a truth that nobody else adds to."""
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(tmp_path, simulator, policies=with_rules()) as gateway,
    ):
        yield gateway, simulator


@pytest.mark.parametrize("cases", [16, pytest.param(500, marks=pytest.mark.torture)])
@pytest.mark.timeout(1200)
async def test_a_refund_follows_venices_word_alone(
    alone: tuple[GatewayProcess, SimulatorProcess], cases: int, chance: random.Random
) -> None:
    gateway, simulator = alone
    kinds = [list(FATES)[number % len(FATES)] for number in range(cases)]
    chance.shuffle(kinds)
    bought: dict[str, str] = {}
    async with Client(gateway) as client:
        for start in range(0, cases, AT_ONCE):
            batch = {f"case {n}": kinds[n] for n in range(start, min(start + AT_ONCE, cases))}
            fates = [
                {"endpoint": "queue", "match": {"prompt_contains": f"{name}."}, "outcome": kind}
                for name, kind in batch.items()
            ]
            simulator.faults([*fates, *POLL_FAULTS])
            answers = await asyncio.gather(*(client.queue(order(f"{name}.")) for name in batch))
            for answer, kind in zip(answers, batch.values(), strict=True):
                assert answer.status_code == 200, answer.text
                bought[answer.json()["queue_id"]] = kind
            await settled_down(gateway, 120)
    assert len(bought) == cases
    for queue_id, kind in bought.items():
        job = job_of(gateway, queue_id)
        assert str(job.state) == FATES[kind], (kind, job.reason)
        assert Decimal(job.settled.micros) / MICROS == (0 if "refunded" in kind else PRICE)
    truth = simulator.truth()
    spent = sum(Decimal(job.settled.micros) for job in jobs_of(gateway)) / MICROS
    assert spent == Decimal(truth["charged_usd"]) - Decimal(truth["refunded_usd"])
    assert_books_balance(gateway)
