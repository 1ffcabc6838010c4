"""What the gateway saved people from while its upstream misbehaved, in numbers that can be checked:
what was bought is counted by the simulator, not by the gateway.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import httpx

from gateway.api.services import Services
from gateway.core.job import State
from gateway.demo.people import Tally

JOBS_MAX = 100_000
_NO_CALLS = 10**15
"""Beyond any call's number: of the truth only the jobs are wanted."""
_HERE = frozenset({State.STORED, State.PURGED, State.EVICTED})


@dataclass(frozen=True)
class Saved:
    """A balance of the storm so far."""

    orders: int
    bought: int
    bought_twice: int
    joined: int
    held: int
    refetched: int
    retries: int

    def __str__(self) -> str:
        return (
            f"saved so far, of {self.orders} orders ({self.bought} bought): "
            f"{self.joined + self.held} purchases not made twice ({self.joined} sent again and "
            f"joined to the first, {self.held} held in doubt), {self.refetched} videos fetched "
            f"again until they were whole, {self.retries} calls to Venice tried again; "
            f"bought twice: {self.bought_twice}"
        )


async def count_saved(services: Services, truth: httpx.AsyncClient, tally: Tally) -> Saved:
    """Count, asking the simulator for what was really bought."""
    answer = await truth.get("/_truth", params={"since": _NO_CALLS})
    bought = Counter(job["prompt_sha256"] for job in answer.json()["jobs"])
    jobs = await services.ledger.jobs(limit=JOBS_MAX)
    retries = services.metrics.upstream_retries.collect()
    return Saved(
        orders=tally.orders,
        bought=bought.total(),
        bought_twice=bought.total() - len(bought),
        joined=tally.joined,
        held=tally.held,
        refetched=sum(job.bad_bodies > 0 and job.state in _HERE for job in jobs),
        retries=sum(
            int(sample.value)
            for family in retries
            for sample in family.samples
            if sample.name.endswith("_total")
        ),
    )
