"""Whole micro-dollars in and out of text; never a float, and one direction of rounding: up."""

from decimal import ROUND_CEILING, Decimal

MICRO_PER_USD = 1_000_000


def micro_from_usd(usd: Decimal) -> int:
    """Whole micro-dollars that cover ``usd``, rounded up."""
    return int((usd * MICRO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def usd_text(micro: int) -> str:
    """Dollars with exactly six places, as the truth ledger writes them."""
    return f"{Decimal(micro).scaleb(-6):.6f}"


def usd_number(micro: int) -> Decimal:
    """Dollars as the shortest exact decimal, as Venice's JSON numbers are written."""
    return plain(Decimal(micro).scaleb(-6))


def plain(number: Decimal) -> Decimal:
    """The same value without trailing zeros."""
    return number.normalize()
