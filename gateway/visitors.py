"""Who stands at the doors, by address, and who of them has tried too many wrong keys.

Proxies are believed only where the settings trust them. What is counted is kept in memory, and
nobody is turned away for what others on the same machine as the gateway do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

import structlog

from gateway.core.errors import RateLimited, RateStanding
from gateway.core.forwarded import Networks, client_address
from gateway.core.quota import MinuteCounter
from gateway.ports import Clock

FAILURES_PER_MINUTE = 300
"""Wrong or missing keys from one address: a broken program stays below, a guesser does not, and a
whole office behind one address has room."""
ADDRESSES_MAX = 20_000
"""Addresses remembered; beyond it the oldest go, and their minute begins anew."""
HOST_BITS = 64
"""Of an IPv6 address belong to its owner, who can use all of them (RFC 4291, 2.5.4)."""

_log = structlog.get_logger("gateway.access")


class Visitors:
    """The addresses of clients, and their failures within the last minute."""

    def __init__(self, clock: Clock, trusted: Networks = ()) -> None:
        self._clock = clock
        self._trusted = trusted
        self._failures: OrderedDict[str, MinuteCounter] = OrderedDict()

    def address(
        self, peer: str | None, forwarded: Sequence[str], x_forwarded_for: Sequence[str]
    ) -> str:
        """The client's address, by its connection and what trusted proxies say."""
        return client_address(
            peer, self._trusted, forwarded=forwarded, x_forwarded_for=x_forwarded_for
        )

    def note_failure(self, address: str) -> None:
        """A key was missing or wrong; `RateLimited` where that happened too often."""
        owner = _owner(address)
        if owner is None:
            return
        counter = self._failures.setdefault(owner, MinuteCounter())
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
        second = int(self._clock.monotonic())
        if not counter.take(second, FAILURES_PER_MINUTE):
            raise self._refusal(counter, second)
        if not counter.left(second, FAILURES_PER_MINUTE):
            _log.warning("authentication.flood", client=address, failures=FAILURES_PER_MINUTE)

    def refuse_guessing(self, address: str) -> None:
        """`RateLimited` for whoever has failed too often, before a key is even looked at.

        For administration alone, whose key people may choose; a user's cannot be guessed, so who
        has a good one is let in whatever others behind the same address do.
        """
        counter = self._failures.get(_owner(address) or "")
        second = int(self._clock.monotonic())
        if counter is not None and not counter.left(second, FAILURES_PER_MINUTE):
            raise self._refusal(counter, second)

    def _refusal(self, counter: MinuteCounter, second: int) -> RateLimited:
        wait = counter.wait(second)
        return RateLimited(
            "failed_keys_per_minute",
            RateStanding(FAILURES_PER_MINUTE, 0, wait, self._clock.now() + wait * 1000),
            f"Too many requests from this address came without a good key. Wait {wait} s, and send "
            "Authorization: Bearer with a key of this gateway.",
        )


def _owner(address: str) -> str | None:
    """Who is counted: an IPv4 address, or the network of an IPv6 one; None for nobody."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    if found.is_loopback:
        return None
    return hex(int(found) >> HOST_BITS) if isinstance(found, IPv6Address) else str(found)
