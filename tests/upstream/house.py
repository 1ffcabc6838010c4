"""A gate with callers that say when they are through, and a memory like the ledger's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.pacing import GateLimits
from gateway.core.retry import Endpoint, Outcome
from gateway.records import RecordedCall
from gateway.upstream.gate import Gate
from tests.upstream.still_clock import StillClock

QUEUE, QUOTE, RETRIEVE = Endpoint.QUEUE, Endpoint.QUOTE, Endpoint.RETRIEVE
ROOMY = GateLimits(failures=1_000, failures_per_user=1_000)


class Memory:
    """A ledger's `record_call`."""

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []
        self.fault: Exception | None = None

    async def record(self, call: RecordedCall) -> None:
        if self.fault is not None:
            raise self.fault
        self.calls.append(call)


class House:
    """A gate with callers that say when they are through."""

    def __init__(
        self,
        clock: StillClock,
        limits: GateLimits = ROOMY,
        weight_of: Callable[[str], int] | None = None,
    ) -> None:
        self.clock = clock
        self.memory = Memory()
        self.gate = Gate(clock, limits, self.memory.record, weight_of)
        self.through: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def pass_through(
        self,
        user: str = "ann",
        endpoint: Endpoint = QUEUE,
        hold: float = 1_000.0,
        outcome: Outcome = Outcome.OK,
        lasting: float = 0.0,
    ) -> None:
        deadline = self.clock.monotonic() + hold
        async with self.gate.turn(endpoint, user, deadline) as turn:
            self.through.append(user)
            turn.depart()
            if lasting:
                await self.clock.sleep(lasting)
            await turn.finish(outcome)

    def send(self, user: str = "ann", times: int = 1, **how: object) -> list[asyncio.Task[None]]:
        tasks = [
            asyncio.ensure_future(self.pass_through(user, **how))  # type: ignore[arg-type]
            for _ in range(times)
        ]
        self.tasks += tasks
        return tasks
