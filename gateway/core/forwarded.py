"""Who a request comes from where proxies stand in front: what they say counts only as far as each
of them is trusted.

Headers in, an address out; nothing is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
HOPS_MAX = 20
"""Proxies one behind the other: a longer chain is somebody's invention."""
UNKNOWN = "unknown"
ADDRESSES_READ = 8_192
"""Addresses kept as they were read: the same clients come again and again."""

_FOR = re.compile(r'(?:^|;)\s*for="?([^";]*)"?\s*(?=;|$)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def client_address(
    peer: str | None,
    trusted: Networks,
    *,
    forwarded: Sequence[str] = (),
    x_forwarded_for: Sequence[str] = (),
) -> str:
    """The address of the client: the nearest one that is no trusted proxy.

    `peer` is who opened the connection; the headers are those of `Forwarded` (RFC 7239) and
    `X-Forwarded-For`, in the order they came. They are believed from a trusted peer only, hop by
    hop from its end, up to the first address that is not trusted or cannot be read. Where both
    headers came and name different clients, one of them was sent by the client: neither counts.
    """
    nearest = read_address(peer or "")
    if nearest is None or not trusted:
        return _written(peer or UNKNOWN)
    if not _is_in(nearest, trusted):
        return str(nearest)
    found = {
        _walked(nearest, hops, trusted)
        for hops in (_hops_of_forwarded(forwarded), _hops_of(x_forwarded_for))
        if hops
    }
    return str(found.pop() if len(found) == 1 else nearest)


@lru_cache(maxsize=ADDRESSES_READ)
def _written(peer: str) -> str:
    """A peer in the one way that its address is written in, where it is one."""
    address = read_address(peer)
    return peer if address is None else str(address)


@lru_cache(maxsize=ADDRESSES_READ)
def read_address(text: str) -> Address | None:
    """An address as proxies write it: with a port, in brackets, an IPv4 one inside IPv6; None for
    anything else, a hidden name included."""
    text = text.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _walked(nearest: Address, hops: Sequence[str], trusted: Networks) -> Address:
    """From the end of the chain to the first address that nobody trusted vouches beyond."""
    for hop in reversed(hops):
        address = read_address(hop)
        if address is None:
            return nearest
        nearest = address
        if not _is_in(address, trusted):
            return nearest
    return nearest


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def _hops_of(values: Sequence[str]) -> list[str]:
    return ",".join(values).split(",")[-HOPS_MAX:] if values else []


def _hops_of_forwarded(values: Sequence[str]) -> list[str]:
    hops = []
    for element in _hops_of(values):
        match = _FOR.search(element)
        hops.append(match[1] if match else "")
    return hops
