"""Whose refusals hold whom back."""

from __future__ import annotations

from gateway.core.blame import Blame


def test_refusals_hold_back_one_user_until_the_oldest_of_them_is_old() -> None:
    blame = Blame()
    for at in (0.0, 1.0, 2.0):
        blame.add("ann", at)
    assert blame.wait("ann", 4, 2.0) == 0.0
    assert blame.wait("ann", 3, 2.0) == 28.0
    assert blame.wait("bob", 3, 2.0) == 0.0
    assert blame.wait("ann", 3, 30.0) == 0.0
