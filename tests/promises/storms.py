"""What may befall an order between a client that sends it again and Venice, for any client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.gateway_process import GatewayProcess
from tests.promises.asking import eventually
from tests.simulator_process import SimulatorProcess

LATE_SECONDS = 2.9
"""Far from every moment at which a client, or what stands before it, gives up: an answer handed to
somebody who leaves in that very moment counts as delivered."""
FAILURES = 5
"""Fewer in a row than open the breaker, which would let no order through for a while."""
ERRORS = "a storm of 500s"
CUT = "a connection cut after acceptance"
LATE = "an answer later than anybody waits"
KILLED = "a gateway killed before it answers"
STORMS: dict[str, list[dict[str, Any]]] = {
    ERRORS: [{"before": "accept", "times": FAILURES, "action": {"status": 500}}],
    CUT: [{"before": "answer", "times": 1, "action": {"drop": True}}],
    LATE: [{"before": "answer", "times": 1, "action": {"delay_seconds": LATE_SECONDS}}],
    KILLED: [{"before": "answer", "times": 1, "action": {"delay_seconds": LATE_SECONDS}}],
}
"""The rules of each; in `LATE` it is for the client to wait less than that."""


@asynccontextmanager
async def storm(
    gateway: GatewayProcess, simulator: SimulatorProcess, kind: str
) -> AsyncIterator[None]:
    """Let it happen to the next order, and see the gateway alive afterwards."""
    before = len(simulator.truth()["jobs"])
    simulator.faults([{"endpoint": "queue", **rule} for rule in STORMS[kind]])
    killing = asyncio.create_task(_kill_once_bought(gateway, simulator, before))
    if kind != KILLED:
        killing.cancel()
    try:
        yield
        await asyncio.gather(killing, return_exceptions=True)
    finally:
        simulator.faults([])
        if not gateway.is_running:
            await asyncio.to_thread(gateway.start)


async def _kill_once_bought(
    gateway: GatewayProcess, simulator: SimulatorProcess, before: int
) -> None:
    async def is_bought() -> bool:
        return len((await asyncio.to_thread(simulator.truth))["jobs"]) > before

    await eventually(is_bought, 30)
    await asyncio.to_thread(gateway.restart)
