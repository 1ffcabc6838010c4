"""What the windows of an order leave of their limits, and what that says of the order at once.

Only where something lacks room `core/` is asked, with all that is known of each window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.budget import Limit, Passed, Span, passed
from gateway.core.money import Money
from gateway.records import Order

NO_LIMIT = 2**63
"""More than any window can have left."""

Room = tuple[int, int]
"""What is left, less than nothing where the limit forbids, and the limit with its grants: both in
micro-dollars."""


class Tightest(NamedTuple):
    """Of all windows of an order."""

    left: int
    """The least that any has left."""
    obeyed: int
    """The least of those that are not only observed."""
    warns: bool
    """Some have shares at which people are told."""

    def remaining(self, price: Money) -> Money | None:
        """What the tightest has left after an order that all have room for; None where none is."""
        return None if self.obeyed == NO_LIMIT else Money(self.obeyed - price.micros)


def tightest(limits: Sequence[Limit], room: Sequence[Room]) -> Tightest:
    """What decides about an order, in one pass: it is asked for each reservation."""
    least = obeyed = NO_LIMIT
    warns = False
    for limit, (left, _ceiling) in zip(limits, room, strict=True):
        # Compared by hand: `min` takes as long as all the rest of it.
        if left < least:  # noqa: PLR1730
            least = left
        if left < obeyed and not limit.only_observed:
            obeyed = left
        if limit.warn_at:
            warns = True
    return Tightest(least, obeyed, warns)


def passed_by(order: Order, spans: Sequence[Span], room: Sequence[Room], at: int) -> list[Passed]:
    """The shares of its windows that an order lifts them to."""
    price = order.quote.micros
    found = []
    for limit, span, (left, ceiling) in zip(order.limits, spans, room, strict=True):
        if limit.warn_at and ceiling > 0:
            used = ceiling - left
            found += passed(limit, span, at, ceiling=ceiling, used=used, price=price)
    return found
