"""The client against servers that answer in every bad way: each call ends, with one outcome."""

from __future__ import annotations

import asyncio
import gzip
import logging
import tracemalloc
import zlib
from asyncio import StreamReader, StreamWriter
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.core.retry import Endpoint, Outcome
from gateway.upstream.bodies import JsonBody, UnreadableBody
from gateway.upstream.client import VeniceClient
from tests.upstream.clients import BILLING_KEY, KEY, OK_JSON, QUICK, asked, client_of
from tests.upstream.raw_server import (
    Behaviour,
    RawServer,
    answer,
    head,
    keeping,
    raw_server,
    read_request,
    resetting,
    saying,
    trickling,
)


async def test_a_call_carries_key_and_body_and_brings_the_document_back() -> None:
    async with raw_server(saying(OK_JSON)) as server, client_of(server.url) as client:
        body = {"model": "m", "upscale": Decimal("2.0"), "price": Decimal("0.10")}
        reply = await client.send(Endpoint.QUOTE, "POST", "/video/quote", body)
    assert reply.is_ok
    assert reply.document == {"quote": Decimal("0.085")}
    assert reply.headers == {"content-type": "application/json"}
    request = server.requests[0]
    assert request.startswith(b"POST /api/v1/video/quote HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n".encode() in request
    assert b"Accept-Encoding: identity\r\n" in request
    assert request.endswith(b'\r\n\r\n{"model":"m","upscale":2,"price":0.10}')


async def test_only_billing_paths_get_the_billing_key() -> None:
    async with raw_server(keeping(OK_JSON)) as server, client_of(server.url) as client:
        await client.send(Endpoint.BALANCE, "GET", "/billing/balance")
        await client.send(Endpoint.RATE_LIMITS, "GET", "/api_keys/rate_limits")
    assert BILLING_KEY.encode() in server.requests[0]
    assert KEY.encode() in server.requests[1]


async def test_a_key_may_change_while_running() -> None:
    async with raw_server(keeping(OK_JSON)) as server, client_of(server.url) as client:
        client.use_keys(SecretStr("another-key"))
        await client.send(Endpoint.BALANCE, "GET", "/billing/balance")
    assert b"Bearer another-key\r\n" in server.requests[0]


async def test_an_answer_that_repeats_a_key_comes_without_it() -> None:
    said = f'{{"error": "{KEY} and {BILLING_KEY}", "more": "old-key"}}'.encode()
    repeating = keeping(answer("400 Bad", said))
    async with raw_server(repeating) as server, client_of(server.url) as client:
        client.use_keys(SecretStr(KEY), SecretStr(BILLING_KEY), SecretStr("old-key"))
        reply = await client.send(Endpoint.QUEUE, "POST", "/video/queue", {})
    assert reply.document == {"error": "[hidden] and [hidden]", "more": "[hidden]"}
    assert b"key" not in reply.body


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "ключ", "\x7f"])
def test_a_key_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="the Venice key") as caught:
        VeniceClient("https://venice.test/api/v1", SecretStr(key))
    assert not key or key not in str(caught.value)


async def test_no_key_and_no_link_is_ever_logged_or_printed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with raw_server(saying(OK_JSON)) as server, client_of(server.url) as client:
        await client.send(Endpoint.QUOTE, "POST", "/video/canary-path", {"prompt": "canary-prompt"})
        shown = caplog.text + repr(client) + str(vars(client))
    assert "canary" not in shown


BAD_ANSWERS: dict[str, tuple[Behaviour, Outcome]] = {
    "closed without a word": (saying(), Outcome.LOST),
    "reset": (resetting, Outcome.LOST),
    "cut": (saying(head("200 OK", "Content-Length: 20"), b'{"a": 1}'), Outcome.LOST),
    "cut in a chunk": (
        saying(head("200 OK", "Transfer-Encoding: chunked"), b"8\r\n{"),
        Outcome.LOST,
    ),
    "no chunk": (saying(head("200 OK", "Transfer-Encoding: chunked"), b"zz\r\n"), Outcome.LOST),
    "cut without a frame": (saying(head("200 OK"), b'{"a": 1'), Outcome.NONSENSE),
    "whole without a frame": (saying(head("200 OK"), b'{"a": 1}'), Outcome.OK),
    "no HTTP": (saying(b"\x16\x03\x01 what?\r\n\r\n"), Outcome.LOST),
    "two lengths": (
        saying(head("200 OK", "Content-Length: 2", "Content-Length: 3"), b"{} "),
        Outcome.LOST,
    ),
    "a cut 400": (saying(head("400 Bad", "Content-Length: 20"), b"{"), Outcome.REFUSED),
    "a cut 500": (saying(head("500 Bad", "Content-Length: 20"), b'{"error":'), Outcome.LOST),
    "a 500": (saying(answer("500 Bad", b'{"error": "x"}')), Outcome.SERVER_ERROR),
    "a redirect": (
        saying(answer("302 Found", b"", "Location: http://127.0.0.1:1/")),
        Outcome.NONSENSE,
    ),
    "a redirect to nowhere": (
        saying(answer("302 Found", b"", "Location: http://[")),
        Outcome.NONSENSE,
    ),
    "another protocol": (saying(answer("101 Switching")), Outcome.LOST),
    "a giant header": (saying(answer("200 OK", b"{}", f"X-Giant: {'x' * 200_000}")), Outcome.LOST),
    "10,000 headers": (saying(answer("200 OK", b"{}", *(["a: b"] * 10_000))), Outcome.OK),
    "too much": (saying(answer("200 OK", b'"' + b"x" * 70_000 + b'"')), Outcome.NONSENSE),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_every_bad_answer_has_its_outcome(name: str) -> None:
    behave, outcome = BAD_ANSWERS[name]
    assert (await asked(behave)).outcome is outcome


ENDLESS_ANSWERS: dict[str, Behaviour] = {
    "silent": saying(60.0),
    "stalled in the head": saying(b"HTTP/1.1 200 OK\r\n", 60.0),
    "stalled in the body": saying(head("200 OK", "Content-Length: 20"), b"{", 60.0),
    "a byte now and then": trickling(head("200 OK", "Content-Length: 90000"), b" ", 0.05),
    "never but soon": trickling(head("100 Continue"), head("100 Continue"), 0.05),
}


@pytest.mark.parametrize("name", ENDLESS_ANSWERS)
async def test_an_order_nobody_finishes_answering_is_lost_in_time(name: str) -> None:
    async with asyncio.timeout(5):
        reply = await asked(ENDLESS_ANSWERS[name], Endpoint.QUEUE, QUICK)
    assert reply.outcome is Outcome.LOST


async def test_a_question_nobody_finishes_answering_is_lost_in_time() -> None:
    async with asyncio.timeout(5):
        reply = await asked(ENDLESS_ANSWERS["a byte now and then"], Endpoint.QUOTE, QUICK)
    assert reply.outcome is Outcome.LOST


@pytest.mark.parametrize(
    ("packed", "encoding", "outcome"),
    [
        (gzip.compress(b'{"a": 1}'), "gzip", Outcome.OK),
        (zlib.compress(b'{"a": 1}'), "deflate", Outcome.OK),
        (gzip.compress(b'{"a": 1}')[:-9], "gzip", Outcome.NONSENSE),
        (b'{"a": 1}', "gzip", Outcome.NONSENSE),
        (b'{"a": 1}', "br", Outcome.NONSENSE),
        (gzip.compress(bytes(50_000_000), 1), "gzip", Outcome.NONSENSE),
    ],
    ids=["gzip", "deflate", "cut", "a lie", "unasked", "a bomb"],
)
async def test_a_packed_answer_is_unpacked_within_its_limit(
    packed: bytes, encoding: str, outcome: Outcome
) -> None:
    behave = saying(answer("200 OK", packed, f"Content-Encoding: {encoding}"))
    assert (await asked(behave)).outcome is outcome


def test_a_bomb_is_never_unpacked_whole() -> None:
    bomb = gzip.compress(bytes(50_000_000), 1)
    body = JsonBody("gzip", 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableBody):
            body.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


async def test_a_caller_may_shorten_the_limit_of_a_call() -> None:
    async with raw_server(saying(60.0)) as server, client_of(server.url) as client:
        async with asyncio.timeout(5):
            reply = await client.send(Endpoint.MODELS, "GET", "/models", seconds=0.1)
    assert reply.outcome is Outcome.LOST


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"", b"HTTP/1.1 200 OK\r\n", head("200 OK", "Content-Encoding: gzip")]
            ),
            st.binary(max_size=200),
        ).map(b"".join),
        max_size=20,
    )
)
def test_no_bytes_at_all_make_the_client_raise(noises: list[bytes]) -> None:
    waiting = list(noises)

    async def behave(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(server, reader)
        writer.write(waiting.pop())

    async def ask() -> None:
        async with raw_server(behave) as server, client_of(server.url) as client:
            for _ in noises:
                reply = await client.send(Endpoint.QUOTE, "POST", "/video/quote", {})
                assert isinstance(reply.outcome, Outcome)

    asyncio.run(ask())
