"""What Venice's answers mean for a job: only its own word ends one, and only that moves money."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.answers import (
    STALL_AFTER_MS,
    Lesson,
    Watched,
    asked_anew,
    credits_refunded,
    learn_from_status,
    read_queue_answer,
)
from gateway.core.job import Event
from gateway.core.retry import Outcome

NOW = 1_790_000_000_000
OLD = Watched(accepted_at=NOW - 30 * STALL_AFTER_MS, has_link=False)
LINK = "https://private-share.venice.ai/v/secret"


def learn(
    watched: Watched,
    document: Any = None,
    status: int | None = 200,
    outcome: Outcome = Outcome.OK,
    now: int = NOW,
) -> Lesson:
    return learn_from_status(
        watched, outcome=outcome, status=status, document=document, body="{}", now=now
    )


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.NEVER_ARRIVED, None),
        (Outcome.UNAVAILABLE, 503),
        (Outcome.RATE_LIMITED, 429),
        (Outcome.BLOCKED, 429),
        (Outcome.REFUSED, 400),
        (Outcome.REFUSED, 401),
        (Outcome.REFUSED, 403),
        (Outcome.REFUSED, 404),
        (Outcome.SERVER_ERROR, 500),
        (Outcome.LOST, 504),
        (Outcome.NONSENSE, 200),
    ],
)
def test_a_failed_look_stalls_no_job_however_old(outcome: Outcome, status: int | None) -> None:
    assert learn(OLD, {"error": "no"}, status, outcome).event is None


def test_a_job_that_venice_still_works_on_after_a_day_is_stalled() -> None:
    young = Watched(accepted_at=NOW - STALL_AFTER_MS + 1, has_link=False)
    assert learn(young, {"status": "PROCESSING"}).event is None
    assert learn(OLD, {"status": "PROCESSING"}).event is Event.STALL
    assert learn(OLD, {"status": "a word nobody knows"}).event is Event.STALL


def test_a_job_that_is_asked_about_anew_has_a_day_again() -> None:
    facts = asked_anew(NOW)
    assert facts == {
        "accepted_at": NOW,
        "ready_at": None,
        "bad_bodies": 0,
        "not_found_count": 0,
        "not_found_first_at": None,
    }
    again = Watched(accepted_at=facts["accepted_at"], has_link=False)
    assert learn(again, {"status": "PROCESSING"}, now=NOW + STALL_AFTER_MS - 1).event is None


def test_completed_without_video_or_link_stalls() -> None:
    young = Watched(accepted_at=NOW, has_link=False)
    assert learn(young, {"status": "COMPLETED"}).event is Event.STALL


def test_a_job_is_ready_from_the_first_time_that_venice_says_so() -> None:
    first = learn(Watched(accepted_at=NOW, has_link=False), {"status": "COMPLETED", "url": LINK})
    assert (first.event, first.facts["ready_at"], first.link) == (Event.FINISH, NOW, LINK)
    known = Watched(accepted_at=NOW, has_link=True, ready_at=NOW)
    later = learn(known, {"status": "completed", "url": LINK}, now=NOW + 5_000)
    assert (later.event, later.facts["ready_at"], later.link) == (Event.FINISH, NOW, None)


def test_a_link_that_brings_nothing_for_a_day_stalls() -> None:
    known = Watched(accepted_at=NOW, has_link=True, ready_at=NOW)
    report = {"status": "COMPLETED", "url": LINK}
    assert learn(known, report, now=NOW + STALL_AFTER_MS - 1).event is Event.FINISH
    assert learn(known, report, now=NOW + STALL_AFTER_MS).event is Event.STALL


@pytest.mark.parametrize(
    ("count", "first_at", "event"),
    [
        (0, None, None),
        (1, NOW - 90_000, None),
        (2, NOW - 59_999, None),
        (2, NOW - 60_000, "vanish"),
    ],
)
def test_a_404_is_believed_the_third_time_over_a_minute(
    count: int, first_at: int | None, event: str | None
) -> None:
    watched = Watched(NOW, has_link=False, not_found_count=count, not_found_first_at=first_at)
    assert learn(watched, status=404, outcome=Outcome.REFUSED).event == event


@pytest.mark.parametrize(
    ("document", "refunded"),
    [
        ({"error": {"credits_refunded": True}}, True),
        ({"error": "moderated", "credits_refunded": True}, True),
        ({"error": {"credits_refunded": "true"}}, False),
        ({"error": {"credits_refunded": 1}}, False),
        ({"error": "moderated"}, False),
        (None, False),
    ],
)
def test_only_credits_refunded_true_is_a_refund(document: Any, refunded: bool) -> None:
    assert credits_refunded(document) is refunded
    event = Event.FAIL_REFUNDED if refunded else Event.FAIL_BILLED
    assert learn(OLD, document, 422, Outcome.REFUSED).event is event


@pytest.mark.parametrize("document", [None, [], {}, {"queue_id": ""}, {"queue_id": "a\nb"}])
def test_an_acceptance_without_a_usable_id_makes_no_sense(document: Any) -> None:
    assert read_queue_answer(document) is None
