"""Venice's links: followed only where we may connect, at the address that was checked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.retry import Outcome
from gateway.ports import LinkRefused, Reply, VideoReply
from gateway.upstream.downloads import Destination, Links, is_public, resolve
from tests.upstream.clients import KEY, client_of, closed_port, server_tls
from tests.upstream.raw_server import answer, raw_server, saying

VENICE = "https://api.venice.ai/api/v1"
SHARE = "private-share.venice.ai"
PUBLIC = "93.184.215.14"
OTHER_PUBLIC = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
VIDEO = b"not really a video" * 100


def links(
    *addresses: str,
    upstream: str = VENICE,
    hosts: Sequence[str] = (SHARE,),
    proxy_for: Callable[[str], str | None] = lambda url: None,
) -> Links:
    async def answering(host: str, port: int) -> Sequence[str]:
        return addresses

    return Links(upstream, hosts, resolve=answering, proxy_for=proxy_for)


async def test_a_link_to_the_share_host_leads_to_its_checked_addresses() -> None:
    found = await links(PUBLIC, OTHER_PUBLIC).check(f"https://{SHARE}/v/1?sig=a%2Fb&e=1#x")
    assert found == Destination("https", SHARE, 443, "/v/1?sig=a%2Fb&e=1", (PUBLIC, OTHER_PUBLIC))
    assert found.host_header == SHARE
    assert found.urls() == [
        f"https://{PUBLIC}:443/v/1?sig=a%2Fb&e=1",
        f"https://[{OTHER_PUBLIC}]:443/v/1?sig=a%2Fb&e=1",
    ]


async def test_a_link_to_the_upstream_itself_may_use_its_port() -> None:
    own = "http://127.0.0.1:8099"
    found = await links("127.0.0.1", upstream=f"{own}/api/v1").check(f"{own}/d/1")
    assert found.urls() == [f"{own}/d/1"]
    assert found.host_header == "127.0.0.1:8099"
    by_default_port = await links(PUBLIC).check("https://API.venice.ai:443/d")
    assert by_default_port.host == "api.venice.ai"
    odd = await links(PUBLIC, upstream="https://venice.example:8443/api/v1").check(
        "https://venice.example:8443/d"
    )
    assert odd.port == 8443


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v",
        f"https://{SHARE}.evil.example/v",
        f"https://evil.example/{SHARE}",
        f"https://{SHARE}./v",
        f"https://{SHARE}:8443/v",
        f"https://{SHARE}:80/v",
        f"https://{SHARE}:0/v",
        f"https://{SHARE}:99999/v",
        f"https://{SHARE}:x/v",
        f"http://{SHARE}/v",
        f"http://{SHARE}:443/v",
        "http://api.venice.ai/v",
        f"https://user@{SHARE}/v",
        f"https://user:pass@{SHARE}/v",
        f"https://@{SHARE}/v",
        f"https://evil.example\\@{SHARE}/v",
        f"https://{SHARE}\\@evil.example/v",
        f"https:\\\\{SHARE}/v",
        f"https://{SHARE}/v\r\nX: 1",
        f"https://{SHARE}/v w",
        f"https://{SHARE}/\x00",
        f"ht\ttps://{SHARE}/v",
        f"https://{SHARE}/é",
        "https://127.0.0.1/v",
        "http://127.0.0.1:8099/v",
        "http://localhost/v",
        "https://[::1]/v",
        "https://[::1/v",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/v",
        "file:///etc/passwd",
        "ftp://private-share.venice.ai/v",
        f"//{SHARE}/v",
        SHARE,
        "",
        "https://",
        "https:///v",
        "data:video/mp4;base64,AAAA",
        f"https://{SHARE}/{'x' * 9_000}",
    ],
)
async def test_a_link_anywhere_else_is_refused(url: str) -> None:
    with pytest.raises(LinkRefused):
        await links(PUBLIC).check(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "2001:db8::1",
        "nonsense",
    ],
)
async def test_one_address_that_is_not_public_is_one_too_many(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(LinkRefused, match="not a public one"):
        await links(PUBLIC, address).check(f"https://{SHARE}/v")


@pytest.mark.parametrize("address", [PUBLIC, OTHER_PUBLIC, "64:ff9b::5db8:d70e", "::ffff:8.8.8.8"])
def test_public_addresses_are_public_also_where_they_stand_for_others(address: str) -> None:
    assert is_public(address)


async def test_the_upstreams_own_local_name_must_mean_this_machine() -> None:
    own = "http://localhost:8099"
    found = await links("127.0.0.1", "::1", upstream=own).check(f"{own}/d")
    assert found.addresses == ("127.0.0.1", "::1")
    for elsewhere in (PUBLIC, "10.0.0.1"):
        with pytest.raises(LinkRefused):
            await links("127.0.0.1", elsewhere, upstream=own).check(f"{own}/d")


async def test_an_upstream_inside_the_house_makes_no_address_public() -> None:
    with pytest.raises(LinkRefused):
        await links("10.0.0.7", upstream="https://venice.corp").check("https://venice.corp/d")


async def test_a_name_without_an_address_leads_nowhere_for_now() -> None:
    found = await links().check(f"https://{SHARE}/v")
    assert found.urls() == []
    async with client_of(VENICE) as client, client.open_link(found) as reply:
        assert isinstance(reply, Reply)
        assert reply.outcome is Outcome.NEVER_ARRIVED


async def test_an_egress_proxy_resolves_the_name_itself() -> None:
    def proxy(url: str) -> str:
        assert url == f"https://{SHARE}"
        return "http://proxy.example:3128"

    found = await links("10.0.0.1", proxy_for=proxy).check(f"https://{SHARE}/v")
    assert found.urls() == [f"https://{SHARE}:443/v"]
    with pytest.raises(LinkRefused):
        await links(proxy_for=proxy).check("https://evil.example/v")


async def test_the_allowed_hosts_follow_the_policy() -> None:
    rules = links(PUBLIC)
    rules.allow(["Media.Example"])
    assert (await rules.check("https://media.example/v")).host == "media.example"
    with pytest.raises(LinkRefused):
        await rules.check(f"https://{SHARE}/v")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_at_all_is_followed_to_another_host(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{SHARE}{text}", f"https://{text}{SHARE}/"):
        try:
            found = asyncio.run(links(PUBLIC).check(url))
        except LinkRefused:
            continue
        assert found.host in (SHARE, "api.venice.ai")
        assert {urlsplit(each).netloc for each in found.urls()} == {f"{PUBLIC}:443"}


async def test_the_systems_resolver_finds_this_machine_and_fails_quietly() -> None:
    assert "127.0.0.1" in await resolve("127.0.0.1", 443)
    assert await resolve("a" * 300, 443) == ()


async def test_a_link_is_followed_at_its_address_under_its_name_and_without_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    file = answer("200 OK", VIDEO, "Content-Type: binary/octet-stream")
    async with raw_server(saying(file), server_tls()) as server, client_of(VENICE) as client:
        link = Destination(
            "https", "private-share.test", server.port, "/v?sig=canary", ("127.0.0.1",)
        )
        async with client.open_link(link) as found:
            assert isinstance(found, VideoReply)
            assert found.expected_bytes == len(VIDEO)
            assert b"".join([chunk async for chunk in found.chunks]) == VIDEO
    request = server.requests[0]
    assert request.startswith(b"GET /v?sig=canary HTTP/1.1\r\n")
    assert f"Host: private-share.test:{server.port}\r\n".encode() in request
    assert b"uthorization" not in request
    assert KEY.encode() not in request
    assert "canary" not in caplog.text + repr(link)


async def test_a_host_that_cannot_prove_its_name_gets_no_link() -> None:
    async with raw_server(saying(), server_tls()) as server, client_of(VENICE) as client:
        link = Destination("https", SHARE, server.port, "/v", ("127.0.0.1",))
        async with client.open_link(link) as found:
            assert isinstance(found, Reply)
            assert found.outcome is Outcome.NEVER_ARRIVED
    assert not server.requests


async def test_another_address_is_tried_where_the_first_does_not_answer() -> None:
    file = answer("200 OK", VIDEO, "Content-Type: video/mp4")
    async with raw_server(saying(file)) as server, client_of(VENICE) as client:
        link = Destination("http", "localhost", server.port, "/v", ("127.0.0.2", "127.0.0.1"))
        async with client.open_link(link) as found:
            assert isinstance(found, VideoReply)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("404 Not Found", Outcome.REFUSED),
        ("410 Gone", Outcome.REFUSED),
        ("429 Too Many", Outcome.RATE_LIMITED),
        ("302 Found", Outcome.NONSENSE),
        ("502 Bad Gateway", Outcome.LOST),
    ],
)
async def test_a_link_that_delivers_nothing_is_a_reply(status: str, outcome: Outcome) -> None:
    behave = saying(answer(status, b"", f"Location: http://127.0.0.1:{closed_port()}/"))
    async with raw_server(behave) as server, client_of(VENICE) as client:
        link = Destination("http", "127.0.0.1", server.port, "/v", ("127.0.0.1",))
        async with client.open_link(link) as found:
            assert isinstance(found, Reply)
            assert found.outcome is outcome
    assert server.connections == 1


@pytest.mark.parametrize(("status", "is_ok"), [("204 No Content", True), ("404 No", False)])
async def test_a_link_is_revoked_by_deleting_it_without_the_key(status: str, is_ok: bool) -> None:
    async with raw_server(saying(answer(status))) as server, client_of(VENICE) as client:
        link = Destination("http", "127.0.0.1", server.port, "/v", ("127.0.0.1",))
        assert (await client.delete_link(link)).is_ok is is_ok
    assert server.requests[0].startswith(b"DELETE /v HTTP/1.1\r\n")
    assert KEY.encode() not in server.requests[0]
