"""A job's life as two tables: which state follows which event, and what it does to the money.

An event that is not in the table raises `IllegalEvent` and changes nothing. Nothing here stores,
sends or logs; `docs/architecture.md` prints its diagrams from these tables.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    RESERVED = "reserved"
    SENDING = "sending"
    RELEASED = "released"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    SETTLED_IN_DOUBT = "settled_in_doubt"
    RELEASED_IN_DOUBT = "released_in_doubt"
    PROCESSING = "processing"
    FETCHING = "fetching"
    STORED = "stored"
    EVICTED = "evicted"
    PURGED = "purged"
    FAILED_REFUNDED = "failed_refunded"
    FAILED_BILLED = "failed_billed"
    UNDELIVERABLE = "undeliverable"
    STALLED = "stalled"
    LOST = "lost"


class Event(StrEnum):
    """What was learned, or decided, about a job."""

    SEND = "send"
    GIVE_UP = "give_up"
    ACCEPT = "accept"
    REFUSE = "refuse"
    LOSE_ANSWER = "lose_answer"
    IDENTIFY = "identify"
    DECIDE_BILLED = "decide_billed"
    DECIDE_UNBILLED = "decide_unbilled"
    FIND_BILLED = "find_billed"
    FIND_UNBILLED = "find_unbilled"
    FINISH = "finish"
    FAIL_REFUNDED = "fail_refunded"
    FAIL_BILLED = "fail_billed"
    VANISH = "vanish"
    STALL = "stall"
    STORE = "store"
    INTERRUPT = "interrupt"
    REJECT_BODY = "reject_body"
    REOPEN = "reopen"
    WANT_AGAIN = "want_again"
    EVICT = "evict"
    PURGE = "purge"


class IllegalEvent(Exception):
    """An event met a state in which it cannot happen; the job is unchanged."""


JOB_TABLE: dict[tuple[State, Event], State] = {
    (State.RESERVED, Event.SEND): State.SENDING,
    # no place at the gate in time, shutdown, client gone, a crash found at start
    (State.RESERVED, Event.GIVE_UP): State.RELEASED,
    (State.SENDING, Event.ACCEPT): State.PROCESSING,
    (State.SENDING, Event.REFUSE): State.REFUSED,
    # a timeout, a cut connection, nonsense, a crash found at start
    (State.SENDING, Event.LOSE_ANSWER): State.IN_DOUBT,
    (State.IN_DOUBT, Event.IDENTIFY): State.PROCESSING,
    (State.IN_DOUBT, Event.DECIDE_BILLED): State.SETTLED_IN_DOUBT,
    (State.IN_DOUBT, Event.DECIDE_UNBILLED): State.RELEASED_IN_DOUBT,
    (State.SETTLED_IN_DOUBT, Event.IDENTIFY): State.PROCESSING,
    # Venice's refusal came after somebody had decided; a correction follows
    (State.SETTLED_IN_DOUBT, Event.DECIDE_UNBILLED): State.RELEASED_IN_DOUBT,
    (State.RELEASED_IN_DOUBT, Event.IDENTIFY): State.PROCESSING,
    # the bill shows it after all, with no queue_id to ask by
    (State.RELEASED_IN_DOUBT, Event.DECIDE_BILLED): State.SETTLED_IN_DOUBT,
    # Venice refused it and billed it: the same as an order whose answer was lost
    (State.REFUSED, Event.FIND_BILLED): State.SETTLED_IN_DOUBT,
    # the bill says otherwise than the answer about `credits_refunded` did
    (State.FAILED_REFUNDED, Event.FIND_BILLED): State.FAILED_BILLED,
    (State.FAILED_BILLED, Event.FIND_UNBILLED): State.FAILED_REFUNDED,
    (State.PROCESSING, Event.FINISH): State.FETCHING,
    (State.PROCESSING, Event.FAIL_REFUNDED): State.FAILED_REFUNDED,
    (State.PROCESSING, Event.FAIL_BILLED): State.FAILED_BILLED,
    (State.PROCESSING, Event.VANISH): State.LOST,
    (State.PROCESSING, Event.STALL): State.STALLED,
    (State.FETCHING, Event.STORE): State.STORED,
    # our own disk or network failed, or Venice took its word back: look again
    (State.FETCHING, Event.INTERRUPT): State.PROCESSING,
    (State.FETCHING, Event.REJECT_BODY): State.UNDELIVERABLE,
    (State.FETCHING, Event.VANISH): State.LOST,
    (State.FETCHING, Event.FAIL_REFUNDED): State.FAILED_REFUNDED,
    (State.FETCHING, Event.FAIL_BILLED): State.FAILED_BILLED,
    (State.STALLED, Event.REOPEN): State.PROCESSING,
    (State.UNDELIVERABLE, Event.REOPEN): State.PROCESSING,
    (State.LOST, Event.REOPEN): State.PROCESSING,
    # damaged on our disk, and Venice may still have it
    (State.STORED, Event.WANT_AGAIN): State.FETCHING,
    (State.STORED, Event.EVICT): State.EVICTED,
    (State.STORED, Event.PURGE): State.PURGED,
    (State.STORED, Event.VANISH): State.LOST,
    (State.EVICTED, Event.WANT_AGAIN): State.FETCHING,
    (State.EVICTED, Event.VANISH): State.LOST,
    (State.EVICTED, Event.PURGE): State.PURGED,
}

OPEN_STATES = frozenset({State.PROCESSING, State.FETCHING})
"""Venice is still to be asked about these."""

MISSED = frozenset({State.STALLED, State.UNDELIVERABLE, State.LOST})
"""Ends that were paid for without a video to show; administrators are told of each."""

UNANSWERED_STATES = frozenset({State.RESERVED, State.SENDING})
"""A request of ours may be running for these; found at a start, they were cut off by a crash."""

ACTIVE_STATES = UNANSWERED_STATES | OPEN_STATES
"""These count against a caller's `active_jobs`."""


def next_state(state: State, event: Event) -> State:
    """The state that follows, or `IllegalEvent`."""
    try:
        return JOB_TABLE[state, event]
    except KeyError:
        raise IllegalEvent(f"a job that is {state} cannot {event}") from None


class Due(StrEnum):
    """What a job's state asks of its money."""

    HOLD = "hold"
    DOUBT = "doubt"
    SETTLE = "settle"
    RELEASE = "release"


MONEY_DUE: dict[State, Due] = {
    State.RESERVED: Due.HOLD,
    State.SENDING: Due.HOLD,
    State.PROCESSING: Due.HOLD,
    State.FETCHING: Due.HOLD,
    State.IN_DOUBT: Due.DOUBT,
    State.STORED: Due.SETTLE,
    State.EVICTED: Due.SETTLE,
    State.PURGED: Due.SETTLE,
    State.FAILED_BILLED: Due.SETTLE,
    State.LOST: Due.SETTLE,
    State.UNDELIVERABLE: Due.SETTLE,
    State.STALLED: Due.SETTLE,
    State.SETTLED_IN_DOUBT: Due.SETTLE,
    State.RELEASED: Due.RELEASE,
    State.REFUSED: Due.RELEASE,
    State.FAILED_REFUNDED: Due.RELEASE,
    State.RELEASED_IN_DOUBT: Due.RELEASE,
}


class Holding(StrEnum):
    """Where a reservation's money is."""

    RESERVED = "reserved"
    IN_DOUBT = "in_doubt"
    SETTLED = "settled"
    RELEASED = "released"


class Entry(StrEnum):
    """The kinds of ledger entry. `settle` and `release` happen at most once per reservation."""

    RESERVE = "reserve"
    DOUBT = "doubt"
    IDENTIFY = "identify"
    SETTLE = "settle"
    RELEASE = "release"
    CORRECT = "correct"


MONEY_TABLE: dict[tuple[Holding, Due], tuple[Entry, Holding] | None] = {
    (Holding.RESERVED, Due.HOLD): None,
    (Holding.RESERVED, Due.DOUBT): (Entry.DOUBT, Holding.IN_DOUBT),
    (Holding.RESERVED, Due.SETTLE): (Entry.SETTLE, Holding.SETTLED),
    (Holding.RESERVED, Due.RELEASE): (Entry.RELEASE, Holding.RELEASED),
    (Holding.IN_DOUBT, Due.HOLD): (Entry.IDENTIFY, Holding.RESERVED),
    (Holding.IN_DOUBT, Due.DOUBT): None,
    (Holding.IN_DOUBT, Due.SETTLE): (Entry.SETTLE, Holding.SETTLED),
    (Holding.IN_DOUBT, Due.RELEASE): (Entry.RELEASE, Holding.RELEASED),
    (Holding.SETTLED, Due.HOLD): None,
    (Holding.SETTLED, Due.SETTLE): None,
    (Holding.SETTLED, Due.RELEASE): (Entry.CORRECT, Holding.RELEASED),
    # late evidence that a released job was accepted after all: Venice bills at acceptance
    (Holding.RELEASED, Due.HOLD): (Entry.CORRECT, Holding.SETTLED),
    (Holding.RELEASED, Due.SETTLE): (Entry.CORRECT, Holding.SETTLED),
    (Holding.RELEASED, Due.RELEASE): None,
}


def money_move(holding: Holding, state: State) -> tuple[Entry, Holding] | None:
    """The entry that entering `state` calls for and where the money is after it, if any.

    Raises `IllegalEvent` for a pair outside the table: settled or released money never goes
    back into doubt.
    """
    try:
        return MONEY_TABLE[holding, MONEY_DUE[state]]
    except KeyError:
        raise IllegalEvent(f"money that is {holding} cannot follow a job to {state}") from None
