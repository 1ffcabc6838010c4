"""R37 for notices: they go to their receivers' own addresses, and nowhere a name may lead them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from gateway.ports import Told
from gateway.upstream.webhooks import WebhookClient, _may_be_reached
from tests.upstream.clients import TLS, closed_port, server_tls
from tests.upstream.raw_server import answer, head, raw_server, saying

OK = answer("200 OK", b"{}", "Set-Cookie: a=b")
BODY = b'{"type":"test"}'
PUBLIC = "93.184.216.34"


class Names:
    """A resolver that says what it is told, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.addresses


def no_proxy(_url: str) -> str | None:
    return None


async def sent(
    url: str, *addresses: str, only_public: bool = False, body: bytes = BODY
) -> tuple[Told, Names]:
    names = Names(*(addresses or ("127.0.0.1",)))
    client = WebhookClient(resolve=names, proxy_for=no_proxy, tls=TLS)
    try:
        headers = {"webhook-id": "n1"}
        return await client.send(url, body, headers, only_public=only_public), names
    finally:
        await client.close()


async def test_a_notice_is_one_post_with_its_headers_and_body() -> None:
    async with raw_server(saying(OK)) as server:
        told, _ = await sent(server.url)
    assert told == Told(200)
    [request] = server.requests
    lines = request.split(b"\r\n")
    assert lines[0] == b"POST /api/v1 HTTP/1.1"
    assert b"webhook-id: n1" in lines
    assert f"Host: 127.0.0.1:{server.port}".encode() in lines
    assert request.endswith(b"\r\n\r\n" + BODY)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.8",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "fe80::1",
        "fd00::1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "100.64.0.1",
        "224.0.0.1",
        "not an address",
    ],
)
async def test_a_users_webhook_is_never_connected_to_but_on_the_public_internet(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    for addresses in ([address], [PUBLIC, address]):
        told, names = await sent("https://hook.example/x", *addresses, only_public=True)
        assert told.status is None
        assert told.why is not None
        assert told.why.startswith("not sent: ")
        assert names.asked == [("hook.example", 443)]


def forbidden(*_: object) -> None:
    raise AssertionError("a connection was begun")


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.example/",
        "https://hook.example:8443/",
        "http://127.0.0.1/",
        "http://localhost/",
        "https://a@hook.example/",
        "ftp://hook.example/",
        "https://hook.example/\\x",
    ],
)
async def test_a_users_webhook_is_plain_https_on_its_own_port(url: str) -> None:
    told, names = await sent(url, PUBLIC, only_public=True)
    assert told.status is None
    assert names.asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0", "::1"])
async def test_an_administrators_name_never_leads_to_this_machine_or_a_clouds_credentials(
    address: str,
) -> None:
    told, _ = await sent("https://hook.example/", address)
    assert told == Told(None, "not sent: its host has an address that may not be connected to")


async def test_a_private_network_is_reached_for_an_administrator() -> None:
    for address in ("10.1.2.3", "192.168.0.9", "fd12::1", PUBLIC):
        assert _may_be_reached(address, is_local=False, is_own=True)


async def test_the_connection_goes_to_the_checked_address_under_the_receivers_name() -> None:
    async with raw_server(saying(OK), server_tls()) as server:
        # The certificate is for localhost: the address alone would not do.
        told, names = await sent(f"https://localhost:{server.port}/x", "127.0.0.1")
    assert told.status == 200
    assert names.asked == [("localhost", server.port)]
    assert f"Host: localhost:{server.port}".encode() in server.requests[0]


async def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    async with raw_server(saying(OK)) as other:
        moved = answer("307 Temporary Redirect", b"", f"Location: {other.url}", "Set-Cookie: a=b")
        async with raw_server(saying(moved)) as server:
            client = WebhookClient(resolve=Names("127.0.0.1"), proxy_for=no_proxy, tls=TLS)
            for _ in range(2):
                told = await client.send(server.url, BODY, {}, only_public=False)
                assert told.status == 307
                assert told.why == "it redirects, and redirects are not followed"
            await client.close()
    assert other.requests == []
    assert b"cookie" not in server.requests[1].lower()


async def test_what_fails_is_said_without_the_address() -> None:
    port = closed_port()
    told, _ = await sent(f"http://127.0.0.1:{port}/services/canary")
    assert told.status is None
    assert "canary" not in str(told)
    async with raw_server(saying()) as server:
        told, _ = await sent(server.url)
    assert told == Told(None, "no answer: RemoteProtocolError")


async def test_an_endless_answer_is_not_read() -> None:
    async with raw_server(saying(head("200 OK"), b"x" * 100_000, 60.0)) as server:
        told, _ = await sent(server.url)
    assert told == Told(200)


@pytest.mark.parametrize(
    ("stated", "waits"), [("120", 120_000), ("soon", 0), ("-5", 0), ("9" * 30, 0), ("", 0)]
)
async def test_a_stated_wait_is_read_where_it_is_a_number_of_seconds(
    stated: str, waits: int
) -> None:
    busy = answer("503 Service Unavailable", b"", f"Retry-After: {stated}")
    async with raw_server(saying(busy)) as server:
        told, _ = await sent(server.url)
    assert told == Told(503, "status 503", waits)
