"""The simulator inside somebody else's event loop, as the gateway runs it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
import uvloop

from gateway.simulator.server import run_server
from gateway.simulator.settings import SimulatorSettings
from tests.simulator.conftest import ORDER, PRIVATE_ORDER

KEY = {"authorization": "Bearer k"}
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def with_server(use: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run a server, hand its URL to ``use``, and see that cancelling ends it."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(run_server(SimulatorSettings(seed=1), started=told.set_result))
    url = await told
    await use(url)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    async with httpx.AsyncClient(verify=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/models")


@pytest.mark.parametrize("loop", LOOPS)
def test_it_serves_until_cancelled(loop: str) -> None:
    async def use(url: str) -> None:
        async with httpx.AsyncClient(headers=KEY, verify=False) as client:
            job = (await client.post(f"{url}/video/queue", json=PRIVATE_ORDER)).json()
            assert job["download_url"].startswith(url.removesuffix("/api/v1"))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(with_server(use))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("drop", [True, "reset"])
def test_connections_are_cut_under_every_loop(loop: str, drop: bool | str) -> None:
    async def use(url: str) -> None:
        origin = url.removesuffix("/api/v1")
        async with httpx.AsyncClient(headers=KEY, verify=False) as client:
            await client.put(f"{origin}/_faults", json=[{"action": {"drop": drop}}])
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as cut:
                await client.post(f"{url}/video/queue", json=ORDER)
            assert isinstance(cut.value, httpx.ReadError) == (drop == "reset")

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(with_server(use))


def test_a_taken_port_is_an_error() -> None:
    async def use(url: str) -> None:
        port = httpx.URL(url).port
        assert port is not None
        with pytest.raises(OSError, match="in use"):
            await run_server(SimulatorSettings(), port=port)

    asyncio.run(with_server(use))
