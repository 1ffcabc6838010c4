"""What an answer of Venice's means for a job: the event it causes and the facts it brings.

Money follows from the event alone. A 400 or a 404 never refunds, an unknown status counts as
still in the making, and only `credits_refunded: true` is a refund.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeGuard

from gateway.core.job import Event
from gateway.core.retry import Outcome

REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 413, 415, 422})
"""Answers of `/video/queue` that are Venice's own refusal: nothing was made."""
LINK_MS = 24 * 3_600_000
"""How long Venice's private links live at most."""
STALL_AFTER_MS = LINK_MS
"""Longer than any video takes, and as long as its link can bring it."""
NOT_FOUND_TIMES = 3
NOT_FOUND_MS = 60_000
"""A 404 is believed when it came three times over at least a minute."""
NO_VIDEO_IN_TIME = "finished 24 hours ago, and no video could be fetched since"
QUEUE_ID_CHARACTERS_MAX = 200
FAILURE_CHARACTERS_MAX = 64 * 1024
AVERAGE_MS_MAX = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a job that Venice is asked about."""

    accepted_at: int
    """When Venice took it, or when it was opened again since."""
    has_link: bool
    ready_at: int | None = None
    """When Venice first said that it is finished."""
    not_found_count: int = 0
    not_found_first_at: int | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned: perhaps an event, facts to keep, and a reason for people."""

    event: Event | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    link: str | None = field(default=None, repr=False)
    """A download link that only this answer gave."""


def learn_from_status(
    watched: Watched, *, outcome: Outcome, status: int | None, document: Any, body: str, now: int
) -> Lesson:
    """What an answer to `/video/retrieve` that is no video teaches; `now` in Unix milliseconds."""
    if outcome is Outcome.OK and isinstance(document, Mapping):
        return _learn_from_report(watched, document, body, now)
    if status == 422:
        return _failure(document, status, body, "Venice refused to deliver it")
    if status == 404:
        return _missing(watched, now)
    # A failed look says nothing of the job, however old that is.
    return Lesson()


def _learn_from_report(watched: Watched, report: Mapping[str, Any], body: str, now: int) -> Lesson:
    facts: dict[str, Any] = {"not_found_count": 0, "not_found_first_at": None}
    average = report.get("average_execution_time")
    if _is_number(average) and 0 < average <= AVERAGE_MS_MAX:
        facts["average_ms"] = int(average)
    status = report.get("status")
    word = status.upper() if isinstance(status, str) else ""
    if word == "COMPLETED":
        link = next((v for n in ("download_url", "video_url", "url") if (v := report.get(n))), None)
        if isinstance(link, str) or watched.has_link:
            found = link if isinstance(link, str) and not watched.has_link else None
            return _finished(watched, facts, found, now)
        return Lesson(Event.STALL, facts, "Venice says COMPLETED but gave neither video nor link")
    if word == "FAILED":
        return _failure(report, 200, body, "Venice says that it failed")
    return _perhaps_stalled(watched, facts, now)


def _finished(watched: Watched, facts: Mapping[str, Any], link: str | None, now: int) -> Lesson:
    ready_at = now if watched.ready_at is None else watched.ready_at
    if now - ready_at >= STALL_AFTER_MS:
        return Lesson(Event.STALL, facts, NO_VIDEO_IN_TIME)
    return Lesson(Event.FINISH, {**facts, "ready_at": ready_at}, link=link)


def _is_number(value: object) -> TypeGuard[int | Decimal]:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _perhaps_stalled(watched: Watched, facts: Mapping[str, Any], now: int) -> Lesson:
    if now - watched.accepted_at >= STALL_AFTER_MS:
        return Lesson(Event.STALL, facts, "no end in 24 hours")
    return Lesson(None, facts)


def _failure(document: Any, status: int, body: str, what: str) -> Lesson:
    refunded = credits_refunded(document)
    return Lesson(
        Event.FAIL_REFUNDED if refunded else Event.FAIL_BILLED,
        {"failure_status": status, "failure_body": body[:FAILURE_CHARACTERS_MAX]},
        f"{what}; credits {'were' if refunded else 'were not'} refunded",
    )


def credits_refunded(document: Any) -> bool:
    """Whether an answer says `credits_refunded: true`, flat or inside its `error`."""
    if not isinstance(document, Mapping):
        return False
    error = document.get("error")
    inner = error.get("credits_refunded") if isinstance(error, Mapping) else None
    return inner is True or document.get("credits_refunded") is True


def _missing(watched: Watched, now: int) -> Lesson:
    first = watched.not_found_first_at or now
    count = watched.not_found_count + 1
    facts = {"not_found_count": count, "not_found_first_at": first}
    if count >= NOT_FOUND_TIMES and now - first >= NOT_FOUND_MS:
        return Lesson(Event.VANISH, facts, "Venice no longer knows it")
    return Lesson(None, facts)


def asked_anew(now: int) -> dict[str, Any]:
    """The facts of a job that Venice is to be asked about again after its end: a fresh start.

    They go with `REOPEN` and `WANT_AGAIN`: what was counted before counts no more.
    """
    return {
        "accepted_at": now,
        "ready_at": None,
        "bad_bodies": 0,
        "not_found_count": 0,
        "not_found_first_at": None,
    }


def read_queue_answer(document: Any) -> tuple[str, str | None] | None:
    """The queue_id and the download link of a queue answer; None where it makes no sense."""
    if not isinstance(document, Mapping):
        return None
    queue_id, link = document.get("queue_id"), document.get("download_url")
    if not isinstance(queue_id, str) or not is_id(queue_id):
        return None
    return queue_id, link if isinstance(link, str) and link else None


def is_id(text: str) -> bool:
    """Whether a text can be an id at all: visible ASCII of a sane length."""
    return 0 < len(text) <= QUEUE_ID_CHARACTERS_MAX and text.isascii() and text.isprintable()
