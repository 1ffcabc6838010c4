"""How the client connects: what never arrived, what was lost on the way, and what is used twice."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

import pytest
from pydantic import SecretStr

from gateway.core.retry import Endpoint, Outcome
from gateway.upstream.client import VeniceClient
from gateway.upstream.limits import ClientLimits
from tests.upstream.clients import (
    CERTIFICATE,
    KEY,
    OK_JSON,
    QUICK,
    asked,
    client_of,
    closed_port,
    server_tls,
)
from tests.upstream.raw_server import (
    RawServer,
    answer,
    head,
    keeping,
    raw_server,
    read_request,
    saying,
    trickling,
)


async def test_nobody_listening_means_never_arrived() -> None:
    async with client_of(f"http://127.0.0.1:{closed_port()}/api/v1") as client:
        reply = await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
    assert reply.outcome is Outcome.NEVER_ARRIVED
    assert reply.status is None


@pytest.mark.parametrize("greeting", [(b"HTTP/1.1 400 Bad\r\n\r\n",), (60.0,)])
async def test_no_tls_means_never_arrived(greeting: tuple[bytes | float, ...]) -> None:
    async def behave(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(1)
        for part in greeting:
            if isinstance(part, bytes):
                writer.write(part)
            else:
                await asyncio.sleep(part)

    async with (
        raw_server(behave) as server,
        client_of(server.url.replace("http", "https"), QUICK) as client,
    ):
        reply = await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
    assert reply.outcome is Outcome.NEVER_ARRIVED


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_an_order_goes_only_to_a_host_that_somebody_vouches_for(
    is_trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with raw_server(saying(OK_JSON), server_tls()) as server:
        client = VeniceClient(f"https://localhost:{server.port}/api/v1", SecretStr(KEY))
        reply = await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
        await client.close()
    assert reply.outcome is (Outcome.OK if is_trusted else Outcome.NEVER_ARRIVED)
    assert len(server.requests) == is_trusted


async def test_orders_never_ride_on_a_used_connection() -> None:
    async with raw_server(keeping(OK_JSON)) as server, client_of(server.url) as client:
        for _ in range(3):
            await client.send(Endpoint.QUOTE, "POST", "/video/quote", {})
        assert server.connections == 1
        for _ in range(3):
            await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
        assert server.connections == 4


async def test_no_cookie_is_sent_back() -> None:
    cookie = answer("200 OK", b"{}", "Set-Cookie: a=b; Path=/", "Set-Cookie: ;;;=\x01")
    async with raw_server(keeping(cookie)) as server, client_of(server.url) as client:
        for _ in range(2):
            assert (await client.send(Endpoint.MODELS, "GET", "/models")).is_ok
    assert b"cookie" not in server.requests[1].lower()


async def test_a_cancelled_call_hangs_up() -> None:
    behave = trickling(head("200 OK", "Content-Length: 9000000"), b" ", 0.01)
    async with raw_server(behave) as server, client_of(server.url, ClientLimits()) as client:
        call = asyncio.ensure_future(client.send(Endpoint.QUOTE, "POST", "/video/quote", {}))
        async with asyncio.timeout(5):
            await server.was_asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.closed_by_client.wait()


async def test_a_proxy_that_opens_no_tunnel_means_never_arrived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for behave in (saying(), saying(answer("502 Bad Gateway")), saying(60.0)):
        async with raw_server(behave) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            async with client_of("https://venice.test/api/v1", QUICK) as client:
                reply = await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
            assert proxy.requests[0].startswith(b"CONNECT venice.test:443 ")
        assert reply.outcome is Outcome.NEVER_ARRIVED


async def test_what_was_sent_through_a_proxy_and_lost_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def tunnel(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(server, reader)
        writer.write(head("200 Connected"))
        await writer.start_tls(server_tls())
        await read_request(server, reader)

    async with raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with client_of("https://venice.test/api/v1") as client:
            reply = await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
    assert len(proxy.requests) == 2
    assert reply.outcome is Outcome.LOST


async def test_a_proxy_is_never_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    assert (await asked(saying(OK_JSON))).is_ok
