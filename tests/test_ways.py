"""The ways in and out, tried with a real server: IPv6, and a corporate proxy that opens TLS."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import PRIVATE_MODEL, Client, order, purchases
from tests.simulator_process import SimulatorProcess
from tests.upstream.clients import CERTIFICATE, server_tls

UPSTREAM = "https://venice.test/api/v1"
HEAD_BYTES_MAX = 8_192


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=300, seed=1, public_url="https://venice.test") as running:
        yield running


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine: NOT tested")
async def test_everything_works_on_an_ipv6_address(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    gateway = GatewayProcess(tmp_path, simulator, settings={"VGW_HOST": "::1"})
    gateway.url = f"http://[::1]:{gateway.port}"
    with gateway:
        (ready,) = gateway.events("service.ready")
        assert ready["url"] == gateway.url
        users = await asyncio.to_thread(gateway.cli, "user", "list")
        assert [user["name"] for user in users] == ["anna"], "commands find it by its lock file"
        async with Client(gateway) as client:
            queue_id = await client.buy("over IPv6")
            await client.finished(queue_id)
            link = (await client.request("POST", f"/gateway/v1/jobs/{queue_id}/links", {})).json()
        assert link["url"].startswith(f"{gateway.url}/gateway/v1/media/")
        async with httpx.AsyncClient(trust_env=False) as anybody:
            video = await anybody.get(link["url"])
        assert video.headers["content-type"] == "video/mp4"


@dataclass
class Proxy:
    """A proxy that knows CONNECT and resolves every name to the stand-in, behind TLS of its own."""

    simulator_port: int
    port: int = 0
    asked: list[str] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    """What clients sent after CONNECT, as a wire tapper sees it."""
    tls_port: int = 0
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    async def outside(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._note()
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.asked.append(f"{method} {target}")
        self.seen += head
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, self.tls_port, self.seen)

    async def inside(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._note()
        await _join(reader, writer, self.simulator_port, bytearray())

    def _note(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)


async def _join(reader: StreamReader, writer: StreamWriter, port: int, seen: bytearray) -> None:
    """Carry bytes both ways until either side ends."""
    onward, back = await asyncio.open_connection("127.0.0.1", port)

    async def carry(source: StreamReader, target: StreamWriter, tap: bytearray | None) -> None:
        with suppress(OSError, ssl.SSLError):
            while part := await source.read(HEAD_BYTES_MAX):
                if tap is not None:
                    tap += part
                target.write(part)
                await target.drain()
            target.close()

    try:
        await asyncio.gather(carry(reader, back, seen), carry(onward, writer, None))
    finally:
        back.close()
        writer.close()


@asynccontextmanager
async def proxy_before(simulator: SimulatorProcess) -> AsyncIterator[Proxy]:
    """A proxy while the context lasts."""
    proxy = Proxy(int(simulator.origin.rpartition(":")[2]))
    inside = await asyncio.start_server(proxy.inside, "127.0.0.1", 0, ssl=server_tls())
    outside = await asyncio.start_server(proxy.outside, "127.0.0.1", 0)
    proxy.tls_port = inside.sockets[0].getsockname()[1]
    proxy.port = outside.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        inside.close()
        outside.close()
        for task in proxy.under_way:
            task.cancel()
        await asyncio.gather(*proxy.under_way, return_exceptions=True)


@asynccontextmanager
async def running(gateway: GatewayProcess) -> AsyncIterator[GatewayProcess]:
    """A gateway started and stopped beside the event loop, which carries its calls."""
    await asyncio.to_thread(gateway.__enter__)
    try:
        yield gateway
    finally:
        await asyncio.to_thread(gateway.terminate)


def behind(folder: Path, proxy: Proxy, **settings: str) -> GatewayProcess:
    """A gateway that reaches Venice by the proxy alone: nobody else knows that name."""
    rules: dict[str, Any] = {"version": 1, "policies": {"default": {}}}
    rules |= {"videos": {"free_disk": "1MiB"}}
    venice = cast(SimulatorProcess, SimpleNamespace(url=UPSTREAM))
    way = {"VGW_UPSTREAM_URL": UPSTREAM, "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
    return GatewayProcess(folder, venice, policies=json.dumps(rules), settings={**way, **settings})


async def test_venice_is_reached_through_the_proxy_with_the_authority_it_needs(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    async with (
        proxy_before(simulator) as proxy,
        running(behind(tmp_path, proxy, SSL_CERT_FILE=str(CERTIFICATE))) as gateway,
    ):
        async with Client(gateway) as client:
            for model in (None, PRIVATE_MODEL):
                changes = {"model": model, "resolution": None} if model else {}
                queue_id = await client.buy(f"through the proxy {model}", **changes)
                video = await client.finished(queue_id)
                assert video.headers["content-type"] == "video/mp4", video.text
        assert set(proxy.asked) == {"CONNECT venice.test:443"}
        assert b"organization" not in proxy.seen, "the key travels inside TLS"


async def test_a_proxy_whose_authority_is_unknown_gets_neither_key_nor_order(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    async with proxy_before(simulator) as proxy, running(behind(tmp_path, proxy)) as gateway:
        async with Client(gateway) as client:
            answer = await client.queue(order("to nobody"))
        assert (answer.status_code, answer.json()["code"]) == (503, "UPSTREAM_BUSY")
        assert set(proxy.asked) == {"CONNECT venice.test:443"}
        assert purchases(simulator, "to nobody") == 0
        assert b"organization" not in proxy.seen
