"""HTTP to Venice and back: the only way to it, and where httpx's exceptions end.

It sends each request once, follows no redirect, keeps no cookie, and bounds every answer in size
and time. What may be sent, when and how often is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from enum import StrEnum
from http.cookiejar import CookieJar
from typing import Any

import httpx
from pydantic import SecretStr

from gateway.core.json_text import encode
from gateway.core.retry import Endpoint, Outcome
from gateway.ports import Reply, Traces, VideoReply
from gateway.settings import fingerprint
from gateway.upstream.answers import (
    IsVideo,
    is_file,
    is_mp4,
    is_never_a_video,
    kept_headers,
    promised_bytes,
    read_answer,
)
from gateway.upstream.bodies import JsonBody, UnreadableBody, video_chunks
from gateway.upstream.downloads import Destination
from gateway.upstream.egress import egress_proxy
from gateway.upstream.limits import ClientLimits
from gateway.upstream.wide_reads import wide_transport

FOREIGN = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""What httpx and the sockets under it raise; `TimeoutError` and TLS errors are among them."""
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
"""Of those, the ones raised before the first byte of a request left for Venice."""
NETWORK_FAILED = (httpx.NetworkError, ConnectionError)
"""Of those, the ones by which the way to Venice broke, rather than Venice ended an answer."""


HIDDEN = b"[hidden]"
"""Stands where an answer repeats one of our keys."""
CONNECTIONS_MAX = 64
"""Of each lane: above what the gate lets be under way, and the videos that are fetched at once."""


class Lane(StrEnum):
    """What a connection is for: each has a pool of its own, so that none can starve another."""

    ORDERS = "orders"
    """An order never rides on a used connection: one that the server closes at that very moment
    leaves no way to tell whether the order was read."""
    QUESTIONS = "questions"
    LOOKS = "looks"
    """They may bring videos, which take long."""
    LINKS = "links"
    """To other hosts, so none is kept."""

    @property
    def keeps_connections(self) -> bool:
        """Whether a connection is used again."""
        return self in (Lane.QUESTIONS, Lane.LOOKS)


_LANES = {Endpoint.QUEUE: Lane.ORDERS, Endpoint.RETRIEVE: Lane.LOOKS}


_ENDPOINT = "gateway.endpoint"
"""Under this name a request knows what it is for."""


class _NoCookies(CookieJar):
    """Venice's cookies are nothing to us; one kept would tell it which calls belong together."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Take none."""


class _Progress:
    """What the transport tells of one request, so that what a proxy lost is not taken for sent."""

    def __init__(self) -> None:
        self.is_at_proxy = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.is_at_proxy = info["request"].method == b"CONNECT"


class VeniceClient:
    """One organization key's connection to Venice."""

    def __init__(
        self,
        base_url: str,
        key: SecretStr,
        *,
        billing_key: SecretStr | None = None,
        previous_key: SecretStr | None = None,
        limits: ClientLimits | None = None,
        tls: ssl.SSLContext | None = None,
        wall_clock: Callable[[], float] = time.time,
        traces: Traces | None = None,
    ) -> None:
        """`billing_key` is for `/billing/` paths, `tls` by default trusts what `SSL_CERT_FILE`
        says, `wall_clock` gives Unix seconds."""
        # At INFO and DEBUG these print whole URLs: Venice's private links would be in the log.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._base_url = base_url.rstrip("/")
        self._limits = limits or ClientLimits()
        self._wall_clock = wall_clock
        self._traces = traces
        self._tls = tls or httpx.create_ssl_context()
        self._clients: dict[tuple[str | None, Lane], httpx.AsyncClient] = {}
        self._proxy = egress_proxy(base_url)
        self.use_keys(key, billing_key, previous_key)

    def __repr__(self) -> str:
        return f"<VeniceClient {self._base_url}>"

    def use_keys(
        self,
        key: SecretStr,
        billing_key: SecretStr | None = None,
        previous_key: SecretStr | None = None,
    ) -> None:
        """Take other keys from the next request on; `ValueError` for one no header can carry.

        `previous_key` goes on asking for the jobs that were bought with it.
        """
        billing_key = key if billing_key is None else billing_key
        for secret in (key, billing_key, previous_key or key):
            text = secret.get_secret_value()
            if not text or not all("!" <= character <= "~" for character in text):
                raise ValueError("the Venice key is empty or has characters no key has")
        self._key = key
        self._billing_key = billing_key
        self._previous = {} if previous_key is None else {fingerprint(previous_key): previous_key}

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def send(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        json_body: Mapping[str, Any] | None = None,
        *,
        seconds: float | None = None,
        bought_with: str | None = None,
    ) -> Reply:
        """One request and its whole JSON answer. It never raises what the network did.

        `seconds` shortens the limit of the endpoint; `bought_with` is the fingerprint of the key
        that the job asked about was bought with.
        """
        request, client = self._api_request(endpoint, method, path, json_body, bought_with)
        is_order = endpoint is Endpoint.QUEUE
        limit = self._limits.queue_seconds if is_order else self._limits.answer_seconds
        due = _now() + (limit if seconds is None else min(limit, seconds))
        async with self._answered(client, request, due, is_never_a_video) as answer:
            assert isinstance(answer, Reply)
            return answer

    @asynccontextmanager
    async def open_retrieve(
        self, model: str, queue_id: str, bought_with: str | None = None
    ) -> AsyncIterator[Reply | VideoReply]:
        """Ask for a job: Venice's JSON, or the video while the context lasts.

        It never asks Venice to delete what it delivers: that is for `complete`, once ours is safe.
        """
        body = {"model": model, "queue_id": queue_id}
        request, client = self._api_request(
            Endpoint.RETRIEVE, "POST", "/video/retrieve", body, bought_with
        )
        due = _now() + self._limits.answer_seconds
        async with self._answered(client, request, due, is_mp4) as answer:
            yield answer

    @asynccontextmanager
    async def open_link(self, destination: Destination) -> AsyncIterator[Reply | VideoReply]:
        """Get what a checked link points to, without the key."""
        async with self._first_reached(destination, "GET", is_file) as answer:
            yield answer

    async def delete_link(self, destination: Destination) -> Reply:
        """Delete what a checked link points to, without the key; any 2xx is a success."""
        async with self._first_reached(destination, "DELETE", is_never_a_video) as answer:
            assert isinstance(answer, Reply)
            return answer

    @asynccontextmanager
    async def _first_reached(
        self, destination: Destination, method: str, is_video: IsVideo
    ) -> AsyncIterator[Reply | VideoReply]:
        """The answer of the first address that lets itself be connected to."""
        client = self._client(destination.proxy, Lane.LINKS)
        async with AsyncExitStack() as stack:
            answer: Reply | VideoReply = Reply(Outcome.NEVER_ARRIVED)
            for url in destination.urls():
                request = client.build_request(
                    method,
                    url,
                    headers={"Host": destination.host_header},
                    timeout=self._timeouts(self._limits.body.stall_seconds),
                    extensions={"sni_hostname": destination.host},
                )
                due = _now() + self._limits.answer_seconds
                attempt = self._answered(
                    client, request, due, is_video, json_is_due=method != "DELETE"
                )
                answer = await stack.enter_async_context(attempt)
                if isinstance(answer, VideoReply) or answer.outcome is not Outcome.NEVER_ARRIVED:
                    break
            yield answer

    def _api_request(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        bought_with: str | None = None,
    ) -> tuple[httpx.Request, httpx.AsyncClient]:
        is_order = endpoint is Endpoint.QUEUE
        key = self._previous.get(bought_with or "", self._key)
        if path.startswith("/billing/"):
            key = self._billing_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        client = self._client(self._proxy, _LANES.get(endpoint, Lane.QUESTIONS))
        request = client.build_request(
            method,
            self._base_url + path,
            headers=headers,
            content=None if body is None else encode(body),
            timeout=self._timeouts(
                self._limits.quiet_seconds if is_order else self._limits.answer_seconds
            ),
            extensions={_ENDPOINT: endpoint},
        )
        return request, client

    def _timeouts(self, quiet: float) -> httpx.Timeout:
        connect = self._limits.connect_seconds
        return httpx.Timeout(connect=connect, pool=connect, read=quiet, write=quiet)

    def _client(self, proxy: str | None, lane: Lane) -> httpx.AsyncClient:
        """The client for one way out, made when it is first needed."""
        client = self._clients.get((proxy, lane))
        if client is None:
            client = self._clients[proxy, lane] = httpx.AsyncClient(
                transport=wide_transport(
                    verify=self._tls,
                    trust_env=False,  # the environment's proxies are `egress_proxy`'s decision
                    proxy=proxy,
                    limits=httpx.Limits(
                        max_connections=CONNECTIONS_MAX,
                        max_keepalive_connections=None if lane.keeps_connections else 0,
                    ),
                ),
                trust_env=False,
                cookies=_NoCookies(),
                follow_redirects=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "venice-gateway"},
            )
        return client

    @asynccontextmanager
    async def _answered(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        due: float,
        is_video: IsVideo,
        *,
        json_is_due: bool = True,
    ) -> AsyncIterator[Reply | VideoReply]:
        """Send, and yield the answer; a video's body is open until the context ends."""
        response = await self._status(client, request, due)
        if isinstance(response, Reply):
            yield response
            return
        chunks: AsyncGenerator[bytes, None] | None = None
        try:
            if is_video(response.status_code, response.headers):
                chunks = video_chunks(
                    aiter(response.aiter_raw()), self._limits.body, FOREIGN, NETWORK_FAILED
                )
                yield VideoReply(chunks, promised_bytes(response.headers))
            else:
                yield await self._document(response, due, json_is_due=json_is_due)
        finally:
            if chunks is not None:
                await chunks.aclose()
            with suppress(*FOREIGN):
                await response.aclose()

    async def _status(
        self, client: httpx.AsyncClient, request: httpx.Request, due: float
    ) -> httpx.Response | Reply:
        """The answer's head, its body still to be read; told to the traces, where there are any."""
        if self._traces is None:
            return await self._sent(client, request, due)
        endpoint = request.extensions.get(_ENDPOINT, Endpoint.DOWNLOAD)
        # A link leads to somebody else's host, who is told nothing.
        carrier = None if endpoint is Endpoint.DOWNLOAD else request.headers
        with self._traces.attempt(endpoint, carrier) as span:
            answer = await self._sent(client, request, due)
            if isinstance(answer, Reply):
                span.fail(answer.outcome)
            else:
                span.note("http.response.status_code", answer.status_code)
            return answer

    async def _sent(
        self, client: httpx.AsyncClient, request: httpx.Request, due: float
    ) -> httpx.Response | Reply:
        progress = _Progress()
        request.extensions["trace"] = progress
        try:
            async with asyncio.timeout_at(due):
                return await client.send(request, stream=True)
        except NEVER_SENT:
            return Reply(Outcome.NEVER_ARRIVED)
        except FOREIGN:
            return Reply(Outcome.NEVER_ARRIVED if progress.is_at_proxy else Outcome.LOST)

    async def _document(self, response: httpx.Response, due: float, *, json_is_due: bool) -> Reply:
        """The whole body, if it comes whole, in time and within its size."""
        body: bytes | None = None
        flaw = Outcome.LOST
        try:
            async with asyncio.timeout_at(due):
                taken = JsonBody(
                    response.headers.get("content-encoding"), self._limits.body.json_bytes_max
                )
                async for part in response.aiter_raw():
                    taken.feed(part)
                body = self._without_keys(taken.whole())
        except UnreadableBody:
            flaw = Outcome.NONSENSE
        except FOREIGN:
            pass
        return read_answer(
            response.status_code,
            kept_headers(response.headers.raw),
            body,
            now=self._wall_clock(),
            flaw=flaw,
            json_is_due=json_is_due,
        )

    def _without_keys(self, body: bytes) -> bytes:
        """What Venice says without our keys: its words reach users, and some are kept."""
        for secret in (self._key, self._billing_key, *self._previous.values()):
            body = body.replace(secret.get_secret_value().encode("ascii"), HIDDEN)
        return body


def _now() -> float:
    return asyncio.get_running_loop().time()
