"""Takes notices to their receivers: one POST each, to an address that was checked after resolution.

No redirect is followed, no cookie kept, no answer read beyond its status. What is told, how it is
signed, and when it is tried again are decided elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx

from gateway.ports import LinkRefused, Told
from gateway.upstream.downloads import (
    ADDRESSES_MAX,
    DEFAULT_PORTS,
    Destination,
    Resolve,
    is_public,
    parse_link,
    resolve,
)
from gateway.upstream.egress import egress_proxy, is_loopback

ANSWER_SECONDS_MAX = 15.0
"""Receivers answer first and work afterwards; one that takes longer is as good as down."""
CONNECT_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 32
STATED_WAIT_DIGITS_MAX = 6

_FOREIGN = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
_NOT_REACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class WebhookClient:
    """`ports.Messenger` over HTTP."""

    def __init__(
        self,
        *,
        resolve: Resolve = resolve,
        proxy_for: Callable[[str], str | None] = egress_proxy,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolve = resolve
        self._proxy_for = proxy_for
        self._tls = tls or httpx.create_ssl_context()
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def send(
        self, url: str, body: bytes, headers: Mapping[str, str], *, only_public: bool
    ) -> Told:
        """See `ports.Messenger.send`. What it says of a failure never repeats the address."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                destination = await self._checked(url, only_public=only_public)
                return await self._sent(destination, body, headers)
        except LinkRefused as error:
            return Told(None, f"not sent: {error}")
        except TimeoutError:
            return Told(None, f"no answer within {ANSWER_SECONDS_MAX:.0f} s")
        except _FOREIGN as error:
            return Told(None, f"no answer: {type(error).__name__}")

    async def _checked(self, url: str, *, only_public: bool) -> Destination:
        """Where the address leads; `LinkRefused` where it may not be connected to."""
        parts, port = parse_link(url)
        host = parts.hostname or ""
        is_local = is_loopback(host) and not only_public
        if parts.scheme != "https" and not is_local:
            raise LinkRefused("plain HTTP is for this machine alone")
        if only_public and port != DEFAULT_PORTS["https"]:
            raise LinkRefused("a user's webhook is reached on port 443 only")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        proxy = self._proxy_for(f"{parts.scheme}://{parts.netloc}")
        if proxy is not None:
            return Destination(parts.scheme, host, port, target, proxy=proxy)
        addresses = await self._resolve(host, port)
        if not addresses:
            raise LinkRefused("its host has no address now")
        if not all(
            _may_be_reached(a, is_local=is_local, is_own=not only_public) for a in addresses
        ):
            raise LinkRefused("its host has an address that may not be connected to")
        return Destination(parts.scheme, host, port, target, tuple(addresses[:ADDRESSES_MAX]))

    async def _sent(
        self, destination: Destination, body: bytes, headers: Mapping[str, str]
    ) -> Told:
        """The answer of the first address that lets itself be connected to."""
        client = self._client(destination.proxy)
        told = Told(None, "no answer: its host has no address now")
        for url in destination.urls():
            request = client.build_request(
                "POST",
                url,
                content=body,
                headers={
                    "Content-Type": "application/json",
                    **headers,
                    "Host": destination.host_header,
                },
                extensions={"sni_hostname": destination.host},
            )
            try:
                response = await client.send(request, stream=True)
            except _NOT_REACHED as error:
                told = Told(None, f"no connection: {type(error).__name__}")
                continue
            with suppress(*_FOREIGN):
                await response.aclose()
            client.cookies.clear()
            return _read(response)
        return told

    def _client(self, proxy: str | None) -> httpx.AsyncClient:
        client = self._clients.get(proxy)
        if client is None:
            client = self._clients[proxy] = httpx.AsyncClient(
                verify=self._tls,
                trust_env=False,  # the environment's proxies are `egress_proxy`'s decision
                proxy=proxy,
                follow_redirects=False,
                timeout=httpx.Timeout(ANSWER_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0),
                headers={"User-Agent": "venice-gateway"},
            )
        return client


def _may_be_reached(text: str, *, is_local: bool, is_own: bool) -> bool:
    """Whether an address may be connected to.

    A user's leads to the public internet. An administrator's may also lead into a private network,
    but never to this machine under another name, nor to link-local addresses, where clouds keep
    their credentials.
    """
    if is_local:
        return is_loopback(text)
    if is_public(text):
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return is_own and any(address in network for network in _PRIVATE if _same(address, network))


_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)
"""RFC 1918 and RFC 4193."""


def _same(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    return address.version == network.version


def _read(response: httpx.Response) -> Told:
    status = response.status_code
    if 300 <= status < 400:
        return Told(status, "it redirects, and redirects are not followed")
    wait = response.headers.get("retry-after", "")
    stated = wait.isascii() and wait.isdecimal() and len(wait) <= STATED_WAIT_DIGITS_MAX
    why = None if response.is_success else f"status {status}"
    return Told(status, why, int(wait) * 1000 if stated else 0)
