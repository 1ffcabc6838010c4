"""Which of Venice's links may be followed, and to which addresses.

A link is text from outside: only the upstream's own origin and the hosts named in the policy are
connected to, at an address that was checked first. Nothing is sent here.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from gateway.ports import LinkRefused
from gateway.upstream.egress import egress_proxy, is_loopback

LINK_CHARACTERS_MAX = 8_192
"""Signed links run to some hundreds; servers take no request line longer than this."""
ADDRESSES_MAX = 4
"""Addresses tried for one link; a name with more is no less reachable through the first four."""
RESOLVE_SECONDS = 10.0
"""A resolver that takes longer is down."""

DEFAULT_PORTS = {"http": 80, "https": 443}
NAT64 = IPv6Network("64:ff9b::/96")
"""Stands for IPv4 addresses on networks that have only IPv6 (RFC 6052)."""

_PLAIN = re.compile(r"[!-~]+")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and port to literal addresses, best first; empty where the name has none now."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a checked link leads."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    """Path and query: whoever knows them has the video."""
    addresses: Sequence[str] = ()
    """Where to connect, so that the name cannot come to mean something else in between."""
    proxy: str | None = field(default=None, repr=False)
    """The egress proxy that resolves the name instead; it may hold a password."""

    @property
    def host_header(self) -> str:
        """The name to ask for, whatever address it is asked at."""
        is_default = self.port == DEFAULT_PORTS[self.scheme]
        return _in_url(self.host) if is_default else f"{_in_url(self.host)}:{self.port}"

    def urls(self) -> list[str]:
        """One for each address to try; the name itself where the proxy resolves it."""
        hosts = [self.host] if self.proxy else self.addresses
        return [f"{self.scheme}://{_in_url(h)}:{self.port}{self.target}" for h in hosts]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Links:
    """The rules for one upstream."""

    def __init__(
        self,
        upstream_url: str,
        hosts: Collection[str],
        *,
        resolve: Resolve = resolve,
        proxy_for: Callable[[str], str | None] = egress_proxy,
    ) -> None:
        upstream = urlsplit(upstream_url)
        self._origin = (upstream.scheme, upstream.hostname, _port(upstream))
        self._resolve = resolve
        self._proxy_for = proxy_for
        self.allow(hosts)

    def allow(self, hosts: Collection[str]) -> None:
        """Set the hosts that may be connected to beside the upstream's own origin."""
        self._hosts = frozenset(host.lower() for host in hosts)

    async def check(self, url: str) -> Destination:
        """Where the link leads; `LinkRefused` unless we may connect there."""
        parts, port = parse_link(url)
        host = parts.hostname or ""
        is_own = (parts.scheme, host, port) == self._origin
        if not is_own and (host not in self._hosts or port != DEFAULT_PORTS["https"]):
            raise LinkRefused("it leads to a host that is not among download_hosts")
        is_local = is_own and is_loopback(host)
        if parts.scheme != "https" and not is_local:
            raise LinkRefused("plain HTTP is for this machine alone")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        proxy = self._proxy_for(f"{parts.scheme}://{parts.netloc}")
        if proxy is not None:
            return Destination(parts.scheme, host, port, target, proxy=proxy)
        addresses = await self._resolve(host, port)
        if not all(map(is_loopback if is_local else is_public, addresses)):
            raise LinkRefused("its host has an address that is not a public one")
        return Destination(parts.scheme, host, port, target, tuple(addresses[:ADDRESSES_MAX]))


def parse_link(url: str) -> tuple[SplitResult, int]:
    """The parts of a link that every reader of URLs would take apart alike, and its port.

    `LinkRefused` for any other.
    """
    if len(url) > LINK_CHARACTERS_MAX or not _PLAIN.fullmatch(url) or "\\" in url:
        raise LinkRefused("it is not a plain URL")
    try:
        parts = urlsplit(url)
        port = _port(parts)
    except ValueError as error:
        raise LinkRefused("it is not a plain URL") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise LinkRefused("it is neither https nor http")
    if "@" in parts.netloc:
        raise LinkRefused("it carries a user name")
    return parts, port


def _port(parts: SplitResult) -> int:
    port = parts.port
    return DEFAULT_PORTS.get(parts.scheme, 0) if port is None else port


def is_public(text: str) -> bool:
    """Whether an address is on the public internet, also where it only stands for another one."""
    try:
        address = _meant(ip_address(text))
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside of a mapped, 6to4 or NAT64 one; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
