"""Notices: what somebody is to be told, how it reads, and when telling it is tried again.

A notice carries names, ids, states and amounts; prompts, media, links and keys have no place in it.
Nothing is kept or sent here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.core.json_text import encode
from gateway.core.notify import NoticeEvent

TEST = "test"
"""The event of a notice that an administrator sends to see whether it arrives."""
OWN_EVENTS = frozenset(
    {
        NoticeEvent.JOB_COMPLETED,
        NoticeEvent.JOB_FAILED,
        NoticeEvent.JOB_IN_DOUBT,
        NoticeEvent.VIDEO_EXPIRING,
    }
)
"""What a user's own webhook is told: of their own jobs, and nothing else."""
TRIED_FOR_MS = 24 * 3_600_000
"""A receiver that is down for longer than a day is told by people."""
FIRST_GAP_MS = 5_000
GAP_MS_MAX = 2 * 3_600_000
GONE = 410
"""By this status a receiver says that it wants no more (Standard Webhooks, "Operational")."""


class Telling(StrEnum):
    """How far the telling of one notice to one receiver has come."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened, and whom it concerns."""

    id: str
    """What receivers tell repetitions by: the same each time it is sent."""
    key: str
    """What happened, so that it is kept once however often it is seen."""
    event: str
    subject: str
    """The job, window or thing that it is about."""
    at: int
    team: str | None = None
    user: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice on its way to one receiver."""

    number: int
    notice: Notice
    receiver: str
    state: Telling
    attempts: int
    since: int
    """From when on it is tried: the notice's moment, or that of its last redelivery."""
    next_at: int | None
    ended_at: int | None = None
    last_status: int | None = None
    last_why: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, and what came of it: a status, or why there was none."""

    at: int
    took_ms: int
    status: int | None
    why: str | None = None
    stated_wait_ms: int = 0
    """How long the receiver asked to be left alone."""

    @property
    def arrived(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a user wants to be told of their own jobs."""

    user: str
    url: str = field(repr=False)
    nonce: str = field(repr=False)
    """By which, and by a secret of the gateway's own, the signing secret is known again."""
    created_at: int


def next_try(made: int, since: int, attempt: Attempt, chance: float) -> int | None:
    """When to try again after so many tries; None where it is time to give up.

    The gap doubles from seconds to hours; `chance` in [0, 1) spreads what failed together.
    """
    if attempt.status == GONE:
        return None
    gap = min(GAP_MS_MAX, FIRST_GAP_MS << min(made - 1, 20))
    spread = gap * (75 + int(chance * 50)) // 100
    ended = attempt.at + attempt.took_ms
    due = ended + max(spread, min(attempt.stated_wait_ms, GAP_MS_MAX))
    last = since + TRIED_FOR_MS
    if ended >= last:
        return None
    # The last try is at the end of the day rather than never.
    return min(due, last)


def standard_body(notice: Notice, at: str) -> bytes:
    """The body in the standard format; `at` is the notice's moment in RFC 3339."""
    data = {"id": notice.id, "subject": notice.subject, "team": notice.team, "user": notice.user}
    return encode({"type": notice.event, "timestamp": at, "data": {**data, **notice.facts}})


def slack_body(notice: Notice) -> bytes:
    """The body that Slack's incoming webhooks and those made like them take: one text."""
    return encode({"text": sentence(notice)})


def sentence(notice: Notice) -> str:
    """The notice in one line for people."""
    whose = [part for part in (notice.user, notice.team and f"team {notice.team}") if part]
    said = f"{_WORDS.get(notice.event, notice.event)}: {_escaped(notice.subject)}"
    if whose:
        said += f" ({_escaped(', '.join(whose))})"
    shown = [f"{n} {_escaped(str(v))}" for n, v in notice.facts.items() if n in _TOLD and v]
    return f"{said} - {', '.join(shown)}" if shown else said


def _escaped(text: str) -> str:
    """Slack's three control characters, so that a name is never a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_WORDS: Mapping[str, str] = {
    NoticeEvent.JOB_COMPLETED: "Video ready",
    NoticeEvent.JOB_FAILED: "Job failed",
    NoticeEvent.JOB_IN_DOUBT: "Job in doubt",
    NoticeEvent.BUDGET_THRESHOLD: "Budget used up in part",
    NoticeEvent.BUDGET_EXCEEDED: "Budget used up",
    NoticeEvent.BALANCE_LOW: "Venice balance low",
    NoticeEvent.KEY_BLOCKED: "Venice blocks the organization's key",
    NoticeEvent.VIDEO_EXPIRING: "Video about to be removed, fetched by nobody",
    NoticeEvent.SPENDING_STOPPED: "Spending stopped",
    TEST: "Test",
}
_TOLD = (
    "state",
    "model",
    "settled_usd",
    "in_doubt_usd",
    "reason",
    "scope",
    "window",
    "percent",
    "used_usd",
    "limit_usd",
    "balance_usd",
    "expires_at",
    "why",
)
"""Facts that a person wants in the line; programs get all of them."""
