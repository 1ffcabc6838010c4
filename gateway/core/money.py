"""Amounts of US dollars as whole micro-dollars, and the only way into and out of them.

No float enters or leaves: text and `Decimal` come in, six-place text goes out, and the one
rounding there is goes up, so that a reservation is never smaller than the quote behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal

MICROS_PER_DOLLAR = 1_000_000
MICROS_MAX = 10**15
"""A thousand million dollars: above any real budget, and far inside a 64-bit integer."""

_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_EXACT = Context(prec=60, rounding=ROUND_CEILING)


class NotAnAmount(ValueError):
    """The text or number is not an amount of money this gateway accepts."""


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """A signed amount of US dollars, in micro-dollars."""

    micros: int

    @classmethod
    def from_decimal(cls, dollars: Decimal) -> Money:
        """Dollars to micro-dollars, rounded up; `NotAnAmount` unless finite and within bounds."""
        if not dollars.is_finite() or dollars.adjusted() > 12:
            raise NotAnAmount(f"{dollars} is not an amount of dollars")
        scaled = _EXACT.multiply(dollars, Decimal(MICROS_PER_DOLLAR))
        micros = int(scaled.to_integral_value(rounding=ROUND_CEILING, context=_EXACT))
        if abs(micros) > MICROS_MAX:
            raise NotAnAmount(f"{dollars} dollars is beyond what this gateway can hold")
        return cls(micros)

    @classmethod
    def from_text(cls, text: str) -> Money:
        """Dollars written plainly (`"5"`, `"0.085"`) to micro-dollars, rounded up."""
        if not _PLAIN_NUMBER.fullmatch(text.strip()):
            raise NotAnAmount(f"{text!r} is not an amount of dollars like 5 or 0.25")
        return cls.from_decimal(Decimal(text.strip()))

    def __add__(self, other: Money) -> Money:
        return Money(self.micros + other.micros)

    def __sub__(self, other: Money) -> Money:
        return Money(self.micros - other.micros)

    def __neg__(self) -> Money:
        return Money(-self.micros)

    def __bool__(self) -> bool:
        return self.micros != 0

    def __str__(self) -> str:
        """Dollars with exactly six places, as the gateway's own doors show them."""
        sign = "-" if self.micros < 0 else ""
        whole, fraction = divmod(abs(self.micros), MICROS_PER_DOLLAR)
        return f"{sign}{whole}.{fraction:06d}"

    def as_json_number(self) -> str:
        """The same amount as a JSON number's text, for the shapes Venice defines as numbers."""
        text = str(self).rstrip("0").rstrip(".")
        return text or "0"


ZERO = Money(0)
