"""What one job event moves in the ledger: the kind of entry and its three signed amounts.

A job's money is in one place at a time; a movement takes it from there to where the new state
wants it. Sums of movements are balances, so nothing else may ever change a balance.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.job import Entry, Holding, IllegalEvent, State, money_move
from gateway.core.money import ZERO, Money


@dataclass(frozen=True, slots=True)
class Amounts:
    """A job's money: what was quoted, and where it is now."""

    quote: Money
    reserved: Money = ZERO
    in_doubt: Money = ZERO
    settled: Money = ZERO


@dataclass(frozen=True, slots=True)
class Movement:
    """One ledger entry to be: signed changes, and where the money is afterwards."""

    kind: Entry
    holding: Holding
    reserved: Money = ZERO
    in_doubt: Money = ZERO
    settled: Money = ZERO


def movement(
    holding: Holding, state: State, amounts: Amounts, settle_as: Money | None = None
) -> Movement | None:
    """What entering `state` moves; None where the money stays.

    `settle_as` is what the job really cost, where that is known to differ from its quote.
    """
    move = money_move(holding, state)
    if move is None:
        return None
    kind, after = move
    cost = amounts.quote if settle_as is None else settle_as
    match kind:
        case Entry.DOUBT:
            return Movement(kind, after, reserved=-amounts.reserved, in_doubt=amounts.reserved)
        case Entry.IDENTIFY:
            return Movement(kind, after, reserved=amounts.in_doubt, in_doubt=-amounts.in_doubt)
        case Entry.SETTLE:
            return Movement(kind, after, -amounts.reserved, -amounts.in_doubt, cost)
        case Entry.RELEASE:
            return Movement(kind, after, -amounts.reserved, -amounts.in_doubt)
        case _:
            paid = cost if after is Holding.SETTLED else ZERO
            return Movement(kind, after, settled=paid - amounts.settled)


def correction(holding: Holding, amounts: Amounts, cost: Money) -> Movement | None:
    """What makes an ended job's settlement what it really did cost; None where it is that.

    `IllegalEvent` where the money is not settled: what is held or released moves with its job's
    state, and a cost below nothing is no cost.
    """
    if holding is not Holding.SETTLED or cost < ZERO:
        raise IllegalEvent(f"money that is {holding} cannot be corrected to {cost}")
    if cost == amounts.settled:
        return None
    return Movement(Entry.CORRECT, holding, settled=cost - amounts.settled)
