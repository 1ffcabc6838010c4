"""R7 with the real clients: each sends its order again in its own way, and buys one job for it,
whatever happens on the way, straight and through nginx.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from tests.dropin.clients import CLIENTS, NORMAL, Client, ClientFailed, ClientHung, run_job
from tests.dropin.environments import Unavailable
from tests.gateway_process import GatewayProcess, with_rules
from tests.missing import missing
from tests.nginx_proxy import PROGRAM, nginx_before
from tests.promises.asking import Client as Orderly
from tests.promises.asking import settled_down
from tests.promises.books import assert_books_balance, jobs_of
from tests.promises.storms import CUT, ERRORS, KILLED, LATE, LATE_SECONDS, STORMS, storm
from tests.simulator_process import SimulatorProcess

pytestmark = [pytest.mark.dropin, pytest.mark.torture, pytest.mark.timeout(600)]
PY, CLI, SDK, HARNESS = "venice-py", "venice-cli", "venice-sdk", "venice-video-harness"
REPOSTING = (PY, CLI, SDK, HARNESS)
SERVED = {
    # venice-py takes a 500 for the end of a paid call.
    ERRORS: {CLI, SDK, HARNESS},
    # What is in doubt is told with a 409, after which none of them sends again.
    CUT: set(),
    # The others stop at their own timeout: venice-py since it may have bought, venice-cli always.
    LATE: {SDK, HARNESS},
    # Those that send again meet the new gateway, where the order is in doubt: 409.
    KILLED: set(),
}
"""Who has a video in the end, in each storm."""
BUYS_NOTHING = {(ERRORS, PY)}
"""Who gives up before there is anything to buy: all of the 500s came instead of an acceptance."""
PATIENCE_SECONDS = 1.6
"""How long each waits for an answer that comes later.

That answer finds venice-sdk waiting for the second time. From its second timeout on, venice-sdk
keeps the old connection open while it pauses, for 1 s and then 2 s, and nobody reads what comes
there: such an answer counts as delivered, and the next try is a new order. Its real timeout is
120 s, which is longer than the gateway takes for any answer.
"""
assert PATIENCE_SECONDS < LATE_SECONDS < 2 * PATIENCE_SECONDS


@dataclass(frozen=True)
class Way:
    """How a client reaches the gateway, and how often one order that it sends may arrive there."""

    url: str
    copies_max: int


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=80, window_scale=60, seed=1) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    # With a smaller share, whether the gateway itself asks again would hang on the storms before.
    rules = with_rules(videos={"on_complete": "keep"}, retry={"share": "100%"})
    folder = tmp_path_factory.mktemp("reposting")
    with GatewayProcess(folder, simulator, policies=rules) as running:
        yield running


@pytest.fixture(params=["straight", "through nginx"])
def way(request: pytest.FixtureRequest, gateway: GatewayProcess, tmp_path: Path) -> Iterator[Way]:
    if request.param == "straight":
        yield Way(gateway.url, copies_max=1)
        return
    if PROGRAM is None:
        missing("nginx is not installed: an order through it is NOT tested")
    with nginx_before(gateway.port, tmp_path / "nginx") as found:
        yield Way(found, copies_max=2)


@pytest.mark.parametrize("kind", STORMS)
@pytest.mark.parametrize(
    "client", [client for client in CLIENTS if client.name in REPOSTING], ids=str
)
async def test_a_real_client_buys_one_job_through_a_storm(
    *,
    gateway: GatewayProcess,
    simulator: SimulatorProcess,
    way: Way,
    client: Client,
    kind: str,
    tmp_path: Path,
) -> None:
    """Where the client gives up, what it ordered is known, or held as in doubt."""
    # A user of its own, for all clients send the same order: it would join another's doubt.
    name = f"user{len(gateway.keys)}"
    key = await asyncio.to_thread(gateway.add_user, name)
    async with Orderly(gateway) as other:
        await other.buy(f"well {client} {kind}")
    await settled_down(gateway)
    before, known = simulator.truth(), {job.id for job in jobs_of(gateway)}
    answered = len(_statuses(gateway))
    patience = PATIENCE_SECONDS if kind == LATE else None
    async with storm(gateway, simulator, kind):
        failure = await asyncio.to_thread(_run, client, way.url, key, tmp_path, patience)
    await settled_down(gateway)
    made = simulator.truth()["jobs"][len(before["jobs"]) :]
    assert len(made) == ((kind, client.name) not in BUYS_NOTHING), failure
    assert (failure is None) == (client.name in SERVED[kind]), failure
    if kind == LATE:
        _assert_timeout_was_met(client, way, _statuses(gateway)[answered:], failure)
    mine = [job for job in jobs_of(gateway) if job.id not in known]
    held = sum(Decimal((job.settled + job.in_doubt).micros) for job in mine) / 1_000_000
    assert held == sum(Decimal(job["charged_usd"]) for job in made)
    assert_books_balance(gateway)


def _assert_timeout_was_met(
    client: Client, way: Way, statuses: list[int], failure: str | None
) -> None:
    """It left while its order was under way, and sent it again or told that its time was up."""
    assert statuses[0] == 499, "nobody left before the answer"
    if client.name in SERVED[LATE]:
        assert len(statuses) > way.copies_max, "the order was sent only once"
        assert statuses[-1] == 200
    else:
        assert set(statuses) == {499}
        assert len(statuses) <= way.copies_max, "the order was sent again"
        assert failure is not None
        assert "timeout" in failure.lower().replace("timed out", "timeout")


def _statuses(gateway: GatewayProcess) -> list[int]:
    """What each order that reached the gateway was answered, 499 where nobody waited for it."""
    return [event["status"] for event in gateway.events("request") if event["door"] == "queue"]


def _run(
    client: Client, url: str, key: str, folder: Path, patience: float | None = None
) -> str | None:
    """What the client printed where it gave up; None where it has its video."""
    try:
        run_job(
            client,
            url=url,
            key=key,
            model=NORMAL,
            output=folder / "video.mp4",
            home=folder / "home",
            patience=patience,
        )
    except Unavailable as why:
        missing(f"CLIENT NOT TESTED: {why}")
    except ClientHung:
        raise
    except ClientFailed as failed:
        return str(failed)
    return None
