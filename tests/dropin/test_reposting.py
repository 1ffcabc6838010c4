"""R7 with the real clients: each sends its order again in its own way, and buys one job for it,
whatever happens on the way, straight and through nginx.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.dropin.clients import CLIENTS, NORMAL, Client, ClientFailed, run_job
from tests.dropin.environments import Unavailable
from tests.gateway_process import GatewayProcess, with_rules
from tests.nginx_proxy import PROGRAM, nginx_before
from tests.promises.asking import Client as Orderly
from tests.promises.asking import settled_down
from tests.promises.books import assert_books_balance, jobs_of
from tests.promises.storms import STORMS, storm
from tests.simulator_process import SimulatorProcess

pytestmark = [pytest.mark.dropin, pytest.mark.torture, pytest.mark.timeout(600)]
REPOSTING = ("venice-py", "venice-cli", "venice-sdk", "venice-video-harness")


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
    rules = with_rules(videos={"on_complete": "keep"})
    folder = tmp_path_factory.mktemp("reposting")
    with GatewayProcess(folder, simulator, policies=rules) as running:
        yield running


@pytest.fixture(params=["straight", "through nginx"])
def url(request: pytest.FixtureRequest, gateway: GatewayProcess, tmp_path: Path) -> Iterator[str]:
    if request.param == "straight":
        yield gateway.url
        return
    if PROGRAM is None:
        pytest.skip("nginx is not installed: an order through it is NOT tested")
    with nginx_before(gateway.port, tmp_path / "nginx") as found:
        yield found


@pytest.mark.parametrize("kind", STORMS)
@pytest.mark.parametrize(
    "client", [client for client in CLIENTS if client.name in REPOSTING], ids=str
)
async def test_a_real_client_buys_one_job_through_a_storm(
    *,
    gateway: GatewayProcess,
    simulator: SimulatorProcess,
    url: str,
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
    async with storm(gateway, simulator, kind):
        is_served = await asyncio.to_thread(_run, client, url, key, tmp_path)
    await settled_down(gateway)
    made = simulator.truth()["jobs"][len(before["jobs"]) :]
    assert len(made) <= 1
    assert len(made) == 1 or not is_served
    mine = [job for job in jobs_of(gateway) if job.id not in known]
    held = sum(Decimal((job.settled + job.in_doubt).micros) for job in mine) / 1_000_000
    assert held >= sum(Decimal(job["charged_usd"]) for job in made)
    assert_books_balance(gateway)


def _run(client: Client, url: str, key: str, folder: Path) -> bool:
    """Whether the client has its video; False where it gave up."""
    try:
        run_job(
            client,
            url=url,
            key=key,
            model=NORMAL,
            output=folder / "video.mp4",
            home=folder / "home",
        )
    except Unavailable as missing:
        if os.environ.get("DROPIN_REQUIRED"):
            raise
        pytest.skip(f"CLIENT NOT TESTED: {missing} (DROPIN_REQUIRED=1 makes this a failure)")
    except ClientFailed as failed:
        print(failed)
        return False
    return True
