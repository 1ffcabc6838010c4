"""Slow, malformed and oversized HTTP: it ends in a refusal and a closed connection, it is never
taken for another request, and honest clients notice nothing of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import Client, order, purchases
from tests.simulator_process import SimulatorProcess
from tests.slow_readers import allowed_bytes, grown_by_readers

CLOSED_SECONDS_MAX = 10.0
SLOW_SECONDS_MAX = 30.0
HONEST_SECONDS_MAX = 1.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
HOST = b"Host: gateway\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
POST = b"POST /api/v1/video/queue HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: smuggled\r\n\r\n"

MALFORMED = {
    "both lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, turned": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": POST + b"Content-Length: -5\r\n\r\nhello",
    "an empty length": POST + b"Content-Length: \r\n\r\n",
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "obs-fold": GET + b"X-A: b\r\n c\r\n\r\n",
    "obs-fold by tab": GET + b"X-A: b\r\n\tc\r\n\r\n",
    "a fold before all": b"GET /livez HTTP/1.1\r\n Host: gateway\r\n\r\n",
    "bare CR in a value": GET + b"X-A: b\rc\r\n\r\n",
    "bare LF in a value": GET + b"X-A: b\nX-B: c\r\n\r\n",
    "bare LF at the end": GET + b"\n",
    "bare LF after the request line": b"GET /livez HTTP/1.1\n" + HOST + b"\r\n",
    "NUL in a value": GET + b"X-A: b\0c\r\n\r\n",
    "control character in a value": GET + b"X-A: b\x01\r\n\r\n",
    "whitespace before the colon": b"GET /livez HTTP/1.1\r\nHost : gateway\r\n\r\n",
    "whitespace before the colon of a framing": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n",
    "whitespace in a name": GET + b"X A: b\r\n\r\n",
    "no name": GET + b": b\r\n\r\n",
    "no colon": GET + b"nonsense\r\n\r\n",
    "two hosts": GET + b"Host: other\r\n\r\n",
    "the same host twice": GET + HOST + b"\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "an empty host": b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n",
    "a host that is none": b"GET /livez HTTP/1.1\r\nHost: a b@c/d\r\n\r\n",
    "absolute target": b"GET http://other/livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute target with our host": b"GET http://gateway/livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority": b"GET gateway:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT gateway:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /livez#x HTTP/1.1\r\n" + HOST + b"\r\n",
    "control character in the target": b"GET /livez\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw UTF-8 in the target": "GET /é HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "space in the method": b"GE T /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "delimiter in the method": b"G(T /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "lower-case method": b"get /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs between the parts": b"GET\t/livez\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/1.2": b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0 in words": b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another encoding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "another encoding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two headers": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "nearly chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked by vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\nhello\r\n0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a chunk that ends by LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "an extension that ends by LF": CHUNKED + b"5;a\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"5\r\nhello, world\r\n0\r\n\r\n",
    "a length among the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "an upgrade with a body": POST
    + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 40\r\n\r\n",
    "a hundred at once": (GET + b"\r\n") * 100,
}


def _connect(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=CLOSED_SECONDS_MAX)


def _all_answers(connection: socket.socket) -> bytes:
    """What is sent until the other side closes; TimeoutError where it does not."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def _exchange(gateway: GatewayProcess, *pieces: bytes) -> bytes:
    with closing(_connect(gateway)) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return _all_answers(connection)


@pytest.mark.parametrize("name", MALFORMED)
def test_what_can_be_read_in_two_ways_is_refused_and_nothing_follows(
    gateway: GatewayProcess, name: str
) -> None:
    began = time.monotonic()
    answers = _exchange(gateway, MALFORMED[name] + SMUGGLED)
    assert time.monotonic() - began < CLOSED_SECONDS_MAX
    assert STATUS.findall(answers) == [b"400"]
    head, _, body = answers.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    told = json.loads(body)
    assert (told["code"], told["source"]) == ("INVALID_REQUEST", "gateway")
    assert told["error"] == told["message"]


def test_a_refusal_does_not_depend_on_how_the_bytes_are_cut(
    gateway: GatewayProcess, chance: random.Random
) -> None:
    for name in chance.sample(sorted(MALFORMED), 12):
        content = MALFORMED[name]
        cut = chance.randrange(1, len(content))
        with closing(_connect(gateway)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(content[:cut])
            with suppress(OSError):  # refused by its first half
                connection.sendall(content[cut:] + SMUGGLED)
            # Requests before the malformed one may already have their answers.
            statuses = STATUS.findall(_all_answers(connection))
        assert set(statuses) <= {b"200", b"400"}, (name, cut, statuses)
        assert statuses.count(b"200") == 0 or name == "a hundred at once", (name, cut)


HONEST = {
    "CRLF before the request": (b"\r\n" + GET + b"Connection: close\r\n\r\n", [b"200"]),
    "HTTP/1.0": (b"GET /livez HTTP/1.0\r\nHost: gateway\r\n\r\n", [b"200"]),
    "IPv6 host": (
        b"GET /livez HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\n\r\n",
        [b"200"],
    ),
    "three in a row": ((GET + b"\r\n") * 2 + GET + b"Connection: close\r\n\r\n", [b"200"] * 3),
    "an offer to upgrade": (GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", [b"200"]),
    "body of a GET": (GET + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", [b"200"]),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_is_unusual_but_clear_is_answered(gateway: GatewayProcess, name: str) -> None:
    content, statuses = HONEST[name]
    assert STATUS.findall(_exchange(gateway, content)) == statuses


@pytest.mark.parametrize(
    "pieces",
    [
        [GET + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n"],
        [GET, *[b"X-A: " + b"a" * 1_000 + b"\r\n"] * 70],
        [GET + b"X-A: ", *[b"a" * 10_000] * 7],
        [b"GET /" + b"a" * 70_000],
    ],
    ids=["at once", "many headers", "one without an end", "a path"],
)
def test_headers_over_the_limit_are_refused_before_their_end(
    gateway: GatewayProcess, pieces: list[bytes]
) -> None:
    with closing(_connect(gateway)) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
        assert STATUS.findall(_all_answers(connection)) == [b"431"]


async def test_trailers_are_never_taken_for_headers(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """A malformed tag or key would be refused if it were believed."""
    content = json.dumps(order("trailers")).encode()
    request = (
        POST
        + f"Authorization: Bearer {gateway.user_key}\r\n".encode()
        + b"Content-Type: application/json\r\nConnection: close\r\n"
        + b"Transfer-Encoding: chunked\r\nTrailer: X-Gateway-Tags\r\n\r\n"
        + b"%x;extension=1\r\n%b\r\n0\r\n" % (len(content), content)
        + b"X-Gateway-Tags: NOT A TAG\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"
    )
    answers = await asyncio.to_thread(_exchange, gateway, request)
    assert STATUS.findall(answers) == [b"200"]
    assert purchases(simulator, "trailers") == 1


async def test_a_body_over_the_limit_is_refused_without_reading_it_to_its_end(
    gateway: GatewayProcess,
) -> None:
    """Whoever sends it without a look at the answer can still read that afterwards."""
    began = time.monotonic()
    megabyte = b" " * 2**20
    honest, endless = await asyncio.gather(
        asyncio.to_thread(_upload, gateway, "Content-Length: 1000000000", megabyte),
        asyncio.to_thread(
            _upload, gateway, "Transfer-Encoding: chunked", b"100000\r\n" + megabyte + b"\r\n"
        ),
    )
    assert time.monotonic() - began < CLOSED_SECONDS_MAX
    # What is on its way when it is refused fits into the buffers of two sockets.
    for sent, limit in ((honest, 40), (endless, 64 + 40)):
        assert sent < limit


def _upload(gateway: GatewayProcess, length: str, megabyte: bytes) -> int:
    """Send without end until it is refused; the megabytes that this took."""
    head = f"Authorization: Bearer {gateway.user_key}\r\nContent-Type: application/json\r\n"
    sent = 0
    with closing(_connect(gateway)) as connection:
        connection.sendall(POST + f"{head}{length}\r\n\r\n".encode())
        with suppress(OSError):
            while sent < 1_000:
                connection.sendall(megabyte)
                sent += 1
        answers = _all_answers(connection)
    assert STATUS.findall(answers) == [b"413"]
    assert b"connection: close" in answers
    return sent


def test_a_body_refused_for_its_key_is_not_read_either(gateway: GatewayProcess) -> None:
    request = POST + b"Content-Type: application/json\r\nContent-Length: 60000000\r\n\r\n"
    began = time.monotonic()
    answers = _exchange(gateway, request)
    assert time.monotonic() - began < HONEST_SECONDS_MAX
    assert STATUS.findall(answers) == [b"401"]
    assert b"connection: close" in answers


async def test_an_expected_continue_is_given_only_to_a_body_that_is_wanted(
    gateway: GatewayProcess,
) -> None:
    asks = (
        POST + b"Expect: 100-continue\r\nContent-Length: 10\r\nContent-Type: application/json\r\n"
    )
    refused = await asyncio.to_thread(_exchange, gateway, asks + b"\r\n")
    assert STATUS.findall(refused) == [b"401"]
    key = f"Authorization: Bearer {gateway.user_key}\r\n\r\n".encode()

    def wait_for_it() -> bytes:
        with closing(_connect(gateway)) as connection:
            connection.sendall(asks + key)
            return connection.recv(100)

    assert (await asyncio.to_thread(wait_for_it)).startswith(b"HTTP/1.1 100 Continue\r\n")


SLOW = {
    "silent": (b"", b""),
    "a byte of a header a second": (GET + b"X-A: ", b"a"),
    "a byte of a body a second": (POST + b"KEY" + b"Content-Length: 100000\r\n\r\n{", b" "),
    "a body that stops": (POST + b"KEY" + b"Content-Length: 100000\r\n\r\n" + b" " * 1_000, b""),
    "a chunk a second": (POST + b"KEY" + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "empty lines": (b"\r\n", b"\r\n"),
}


async def _hold_slowly(gateway: GatewayProcess, first: bytes, then: bytes) -> float:
    """Stay connected as long as the gateway lets one; the seconds that it did."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    began = time.monotonic()
    key = f"Authorization: Bearer {gateway.user_key}\r\nContent-Type: application/json\r\n"
    writer.write(first.replace(b"KEY", key.encode()))
    try:
        while time.monotonic() - began < 2 * SLOW_SECONDS_MAX:
            try:
                if not await asyncio.wait_for(reader.read(4_096), 1):
                    break
            except TimeoutError:
                writer.write(then)
    except ConnectionError:
        pass
    held = time.monotonic() - began
    writer.close()
    return held


async def honest_seconds(gateway: GatewayProcess, until: asyncio.Event) -> list[float]:
    """How long each poll of a client took that polls until an event."""
    taken = []
    async with Client(gateway) as client:
        queue_id = await client.buy("honest")
        while not until.is_set():
            began = time.monotonic()
            assert (await client.retrieve(queue_id)).status_code == 200
            taken.append(time.monotonic() - began)
            await asyncio.sleep(0.01)
    return taken


@pytest.mark.parametrize(
    ("names", "connections", "waves"),
    [
        (["silent", "a byte of a header a second", "empty lines"], 120, 1),
        pytest.param(list(SLOW), 1_000, 4, marks=pytest.mark.torture),
    ],
    ids=["a few", "a thousand"],
)
async def test_slow_connections_are_closed_and_hurt_nobody(
    gateway: GatewayProcess, names: list[str], connections: int, waves: int
) -> None:
    """R32: a wave is over within 17 s, and the next one takes its place at once."""
    kinds = [SLOW[name] for name in names]
    over = asyncio.Event()
    honest = asyncio.create_task(honest_seconds(gateway, over))

    async def hold_again(first: bytes, then: bytes) -> float:
        return max([await _hold_slowly(gateway, first, then) for _ in range(waves)])

    slow = [hold_again(*kinds[n % len(kinds)]) for n in range(connections)]
    held = await asyncio.gather(*slow)
    over.set()
    taken = sorted(await honest)
    print(
        f"slow: {max(held):.1f} s; honest: {len(taken)}, p99 {taken[len(taken) * 99 // 100]:.3f} s"
    )
    assert max(held) < SLOW_SECONDS_MAX
    assert len(taken) > 100
    assert taken[int(len(taken) * 0.99)] < HONEST_SECONDS_MAX


@pytest.mark.parametrize(
    ("readers", "size"),
    [(20, 10_000_000), pytest.param(100, 500_000_000, marks=pytest.mark.torture)],
)
async def test_slow_readers_of_videos_take_no_memory(
    tmp_path: Path, readers: int, size: int
) -> None:
    """R31: 64 MiB and one more for each connection, at every moment; some read to the end."""
    assert await grown_by_readers(tmp_path, readers, size) < allowed_bytes(readers)
