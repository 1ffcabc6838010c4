"""The job's two tables are the design's: every state is reachable, and nothing else can happen."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.core.job import (
    ACTIVE_STATES,
    JOB_TABLE,
    MONEY_DUE,
    MONEY_TABLE,
    OPEN_STATES,
    UNANSWERED_STATES,
    Due,
    Entry,
    Event,
    Holding,
    IllegalEvent,
    State,
    money_move,
    next_state,
)

MAY_BECOME: dict[str, set[str]] = {
    "reserved": {"sending", "released"},
    "sending": {"processing", "refused", "in_doubt"},
    "in_doubt": {"processing", "settled_in_doubt", "released_in_doubt"},
    "settled_in_doubt": {"processing", "released_in_doubt"},
    "released_in_doubt": {"processing", "settled_in_doubt"},
    "refused": {"settled_in_doubt"},
    "failed_refunded": {"failed_billed"},
    "failed_billed": {"failed_refunded"},
    "processing": {"fetching", "failed_refunded", "failed_billed", "lost", "stalled"},
    "fetching": {
        "stored", "processing", "undeliverable", "lost", "failed_refunded", "failed_billed",
    },
    "stalled": {"processing"},
    "undeliverable": {"processing"},
    "lost": {"processing"},
    "stored": {"fetching", "evicted", "purged", "lost"},
    "evicted": {"fetching", "lost", "purged"},
}  # fmt: skip
SETTLES = {"stored", "failed_billed", "lost", "undeliverable", "stalled", "settled_in_doubt"}
RELEASES = {"released", "refused", "failed_refunded", "released_in_doubt"}
ILLEGAL = [pair for pair in product(State, Event) if pair not in JOB_TABLE]


def reachable() -> set[tuple[State, Holding]]:
    """Every state of job and money that some sequence of events leads to."""
    # An adopted job begins as one that Venice already has.
    waiting = [(State.RESERVED, Holding.RESERVED), (State.PROCESSING, Holding.RESERVED)]
    found = set(waiting)
    while waiting:
        state, holding = waiting.pop()
        for before, event in JOB_TABLE:
            if before is state:
                after = next_state(state, event)
                move = money_move(holding, after)
                then = (after, move[1] if move else holding)
                if then not in found:
                    found.add(then)
                    waiting.append(then)
    return found


def test_the_table_has_the_designs_arrows_and_no_others() -> None:
    arrows: dict[str, set[str]] = {}
    for (state, _), after in JOB_TABLE.items():
        arrows.setdefault(state.value, set()).add(after.value)
    assert arrows == MAY_BECOME


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_an_event_outside_the_table_raises(state: State, event: Event) -> None:
    with pytest.raises(IllegalEvent, match=f"{state} cannot {event}"):
        next_state(state, event)


def test_no_two_events_lead_from_one_state_to_the_same_other() -> None:
    arrows = [(state, after) for (state, _), after in JOB_TABLE.items()]
    assert len(arrows) == len(set(arrows))


def test_every_state_can_be_reached() -> None:
    assert {state for state, _ in reachable()} == set(State)


def test_every_event_is_used() -> None:
    assert {event for _, event in JOB_TABLE} == set(Event)


def test_every_reachable_job_has_its_money_where_its_state_wants_it() -> None:
    fits = {
        Due.HOLD: {Holding.RESERVED, Holding.SETTLED},
        Due.DOUBT: {Holding.IN_DOUBT},
        Due.SETTLE: {Holding.SETTLED},
        Due.RELEASE: {Holding.RELEASED},
    }
    for state, holding in reachable():
        assert holding in fits[MONEY_DUE[state]], (state, holding)


def test_money_that_was_settled_stays_settled_while_a_job_is_looked_at_again() -> None:
    assert money_move(Holding.SETTLED, State.PROCESSING) is None
    assert money_move(Holding.SETTLED, State.STORED) is None


def test_states_settle_and_release_as_the_design_says() -> None:
    kept = {"evicted", "purged"}  # after `stored`, which settled
    settles = {state.value for state, due in MONEY_DUE.items() if due is Due.SETTLE}
    releases = {state.value for state, due in MONEY_DUE.items() if due is Due.RELEASE}
    assert settles == SETTLES | kept
    assert releases == RELEASES
    assert set(MONEY_DUE) == set(State)


def test_a_reservation_settles_or_releases_at_most_once() -> None:
    resolutions = (Entry.SETTLE, Entry.RELEASE)
    for (holding, _), move in MONEY_TABLE.items():
        if move and move[0] in resolutions:
            assert holding in (Holding.RESERVED, Holding.IN_DOUBT)
            assert move[1] in (Holding.SETTLED, Holding.RELEASED)
        if move and holding in (Holding.SETTLED, Holding.RELEASED):
            assert move[0] is Entry.CORRECT


@pytest.mark.parametrize("holding", [Holding.SETTLED, Holding.RELEASED])
def test_resolved_money_never_goes_back_into_doubt(holding: Holding) -> None:
    with pytest.raises(IllegalEvent, match="in_doubt"):
        money_move(holding, State.IN_DOUBT)


def test_late_evidence_after_a_release_charges_by_a_correction() -> None:
    assert money_move(Holding.RELEASED, State.PROCESSING) == (Entry.CORRECT, Holding.SETTLED)


def test_a_late_refund_is_a_correction() -> None:
    assert money_move(Holding.SETTLED, State.FAILED_REFUNDED) == (Entry.CORRECT, Holding.RELEASED)


def test_a_refusal_after_an_administrator_settled_is_a_correction() -> None:
    state = next_state(State.SETTLED_IN_DOUBT, Event.DECIDE_UNBILLED)
    assert money_move(Holding.SETTLED, state) == (Entry.CORRECT, Holding.RELEASED)


def test_only_jobs_that_venice_may_be_working_on_count_as_active() -> None:
    assert {State.PROCESSING, State.FETCHING} == OPEN_STATES
    assert {State.RESERVED, State.SENDING} == UNANSWERED_STATES
    assert ACTIVE_STATES == OPEN_STATES | UNANSWERED_STATES
