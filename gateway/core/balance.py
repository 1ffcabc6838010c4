"""What Venice says is left of the organization's money, and how much of it is spoken for already.

Only an account that pays in US dollars has a limit here: what cannot be known locks nobody out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gateway.core.job import State
from gateway.core.money import ZERO, Money, NotAnAmount

USD = "USD"
NOT_TAKEN = frozenset(
    {State.RELEASED, State.REFUSED, State.RELEASED_IN_DOUBT, State.FAILED_REFUNDED}
)
"""Venice takes no money for these, or has given it back."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What one answer of Venice's says."""

    dollars: Money
    is_limiting: bool
    """Whether orders are paid from it alone: not where DIEM or credits pay first."""


def balance_of(document: object) -> Balance | None:
    """The answer of `/billing/balance`; None where it tells of no dollars."""
    balances = _mapping(document, "balances")
    dollars = _amount(balances.get("usd"))
    if dollars is None or not isinstance(document, Mapping):
        return None
    is_limiting = document.get("consumptionCurrency") == USD and not _amount(balances.get("diem"))
    return Balance(dollars, is_limiting)


def balance_of_key(document: object) -> Balance | None:
    """The answer of `/api_keys/rate_limits`; None where it tells of no dollars."""
    balances = _mapping(_mapping(document, "data"), "balances")
    dollars = _amount(balances.get("USD"))
    return None if dollars is None else Balance(dollars, not _amount(balances.get("DIEM")))


def balance_told(headers: Mapping[str, str]) -> Balance | None:
    """The balance that an answer's headers tell beside something else; None where they do not.

    It limits only where they say of DIEM as well that there is none.
    """
    dollars = _written(headers.get("x-venice-balance-usd"))
    if dollars is None:
        return None
    return Balance(dollars, _written(headers.get("x-venice-balance-diem")) == ZERO)


def _mapping(document: object, name: str) -> Mapping[str, object]:
    found = document.get(name) if isinstance(document, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _amount(value: object) -> Money | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        return Money.from_decimal(Decimal(value))
    except NotAnAmount:
        return None


def _written(text: str | None) -> Money | None:
    try:
        return None if text is None else Money.from_text(text)
    except NotAnAmount:
        return None


def is_spoken_for(state: State, *, taken_at: int | None, asked_at: int) -> bool:
    """Whether a job's price may be missing in a balance that was asked for at a moment.

    `taken_at` is when Venice had taken the order, as far as is known; None while it is unknown
    whether it will. What it had taken before the balance was asked for, the balance has lost
    already.
    """
    if state in NOT_TAKEN:
        return False
    return taken_at is None or taken_at >= asked_at


def is_enough(balance: Balance, spoken_for: Money, price: Money) -> bool:
    """Whether one more order can be paid."""
    return not balance.is_limiting or spoken_for + price <= max(balance.dollars, ZERO)
