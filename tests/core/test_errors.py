"""What a refused caller is told to do: what can help, and nothing that cannot."""

from __future__ import annotations

import pytest

from gateway.core.budget import Limit, Scope, Span, Standing
from gateway.core.errors import BudgetExceeded
from gateway.core.money import ZERO, Money

DOLLAR = 1_000_000
ENDS_AT = 2_000


@pytest.mark.parametrize(
    ("scope", "amount", "price", "ends_at", "helps", "cannot_help"),
    [
        (Scope.USER, 10, 5, ENDS_AT, ["Order less", "wait for", "a grant"], []),
        (Scope.USER, 10, 5, None, ["Order less", "a grant"], ["wait"]),
        (Scope.USER, 10, 11, ENDS_AT, ["Order less", "a grant"], ["wait"]),
        (Scope.KEY, 0, 5, ENDS_AT, ["a grant"], ["wait", "Order less"]),
        # Nobody is told how much is left, or was ever there, of what is others' too.
        (Scope.TEAM, 0, 11, ENDS_AT, ["Order less", "wait for", "a grant"], ["left"]),
        (Scope.ORGANIZATION, 10, 11, ENDS_AT, ["Order less", "wait for", "a grant"], ["left"]),
    ],
)
def test_a_budget_that_is_used_up_says_what_helps(
    *,
    scope: Scope,
    amount: int,
    price: int,
    ends_at: int | None,
    helps: list[str],
    cannot_help: list[str],
) -> None:
    limit = Limit(scope, "anna", "anna", "day" if ends_at else "total", Money(amount * DOLLAR))
    standing = Standing(limit, Span(0, ENDS_AT), Money(9 * DOLLAR), ZERO, ZERO, resets_at=ends_at)
    text = BudgetExceeded(standing, Money(price * DOLLAR)).message
    assert "Nothing was bought." in text
    for words in helps:
        assert words in text
    for words in cannot_help:
        assert words not in text
