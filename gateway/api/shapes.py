"""How users, keys, jobs, budgets and spending read in JSON at the gateway's own doors.

Money is six-place text, times are RFC 3339 in UTC; no key's secret or digest ever appears.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.api.answers import (
    EntryAnswer,
    GrantAnswer,
    JobAnswer,
    KeyAnswer,
    RefusalAnswer,
    TeamAnswer,
    UserAnswer,
    WindowAnswer,
)
from gateway.api.details import LineAnswer, ReceiptAnswer, SpendAnswer
from gateway.core.budget import Standing
from gateway.core.job import State
from gateway.core.money import ZERO, Money
from gateway.core.policy import Team
from gateway.moments import rfc3339
from gateway.records import EntryRow, Grant, Job, Key, Refusal, Spend, User

Shape = dict[str, Any]


def time_of(at: int | None) -> str | None:
    """A moment, where there is one."""
    return None if at is None else rfc3339(at)


def user_shape(user: User) -> UserAnswer:
    """A user."""
    return {
        "name": user.name,
        "team": user.team,
        "policy": user.policy,
        "email": user.email,
        "disabled_at": time_of(user.disabled_at),
        "created_at": rfc3339(user.created_at),
    }


def key_shape(key: Key) -> KeyAnswer:
    """A key, without what opens doors."""
    window, amount = key.budget or (None, None)
    return {
        "id": key.id,
        "user": key.user,
        "name": key.name,
        "budget_usd": None if amount is None else str(amount),
        "budget_window": window,
        "models": list(key.models),
        "tags": list(key.tags),
        "delivery": key.delivery,
        "service": key.is_service,
        "created_at": rfc3339(key.created_at),
        "expires_at": time_of(key.expires_at),
        "revoked_at": time_of(key.revoked_at),
        "counts_as": key.counts_as,
    }


def team_shape(name: str, team: Team, users: Sequence[User]) -> TeamAnswer:
    """A team as the policy files name it, and who is in it."""
    return {
        "name": name,
        "policy": team.policy,
        "pool": amounts(team.pool),
        "users": [user.name for user in users],
    }


def amounts(windows: Mapping[str, Money]) -> dict[str, str]:
    """Limits by window."""
    return {window: str(limit) for window, limit in windows.items()}


def grant_shape(grant: Grant) -> GrantAnswer:
    """A grant."""
    shared = grant.scope == grant.scope_id
    return {
        "id": grant.id,
        "to": grant.scope_id if shared else f"{grant.scope}:{grant.scope_id}",
        "window": grant.window,
        "usd": str(grant.amount),
        "until": rfc3339(grant.until),
        "why": grant.why,
        "by": grant.actor,
        "created_at": rfc3339(grant.created_at),
        "revoked_at": time_of(grant.revoked_at),
    }


def job_shape(job: Job) -> JobAnswer:
    """A job as its user may see it."""
    released = job.quote - job.reserved - job.in_doubt - job.settled
    doubted_at = (job.sent_at or job.created_at) if job.state is State.IN_DOUBT else None
    return {
        "job": job.id,
        "queue_id": job.queue_id,
        "state": job.state,
        "user": job.user,
        "team": job.team,
        "key": job.key_id,
        "model": job.model,
        "quote_usd": str(job.quote),
        "reserved_usd": str(job.reserved),
        "in_doubt_usd": str(job.in_doubt),
        "settled_usd": str(job.settled),
        "released_usd": str(max(released, ZERO)),
        "created_at": rfc3339(job.created_at),
        "sent_at": time_of(job.sent_at),
        "accepted_at": time_of(job.accepted_at),
        "ready_at": time_of(job.ready_at),
        "stored_at": time_of(job.stored_at),
        "delivered_at": time_of(job.delivered_at),
        "completed_at": time_of(job.completed_at),
        "ended_at": time_of(job.ended_at),
        "in_doubt_since": time_of(doubted_at),
        "seconds": job.seconds,
        "resolution": job.resolution,
        "private": job.is_private,
        "video_bytes": job.video_bytes,
        "tags": list(job.tags),
        "policy": job.policy,
        "policy_version": job.policy_version,
        "reason": job.reason,
    }


def receipt_shape(job: Job, entries: Sequence[EntryRow]) -> ReceiptAnswer:
    """A job and what became of its money, as its user may see it: without who administered."""
    lines: list[LineAnswer] = [
        {
            "kind": entry.kind,
            "at": rfc3339(entry.at),
            "reserved_usd": str(entry.reserved),
            "in_doubt_usd": str(entry.in_doubt),
            "settled_usd": str(entry.settled),
            "reason": entry.reason,
        }
        for entry in entries
    ]
    return {**job_shape(job), "entries": lines}


def entry_shape(entry: EntryRow) -> EntryAnswer:
    """A ledger entry: signed changes of what is reserved, in doubt and settled."""
    return {
        "id": entry.id,
        "job": entry.job,
        "kind": entry.kind,
        "at": rfc3339(entry.at),
        "reserved_usd": str(entry.reserved),
        "in_doubt_usd": str(entry.in_doubt),
        "settled_usd": str(entry.settled),
        "reason": entry.reason,
        "by": entry.actor,
        "corrects": entry.corrects,
    }


def spend_shape(row: Spend, by: str) -> Shape:
    """A row of spending; its first field is called by what it was asked for."""
    return {by: row.name or None, **spent(row)}


def spent(row: Spend) -> SpendAnswer:
    """What a row of spending amounts to."""
    return {
        "settled_usd": str(row.settled),
        "reserved_usd": str(row.reserved),
        "in_doubt_usd": str(row.in_doubt),
        "jobs": row.jobs,
    }


def refusal_shape(refusal: Refusal) -> RefusalAnswer:
    """An order that was refused, and by which rule."""
    return {
        "at": rfc3339(refusal.at),
        "code": refusal.code,
        "rule": refusal.rule,
        "model": refusal.model,
        "amount_usd": None if refusal.amount is None else str(refusal.amount),
    }


def standing_shape(standing: Standing) -> WindowAnswer:
    """How a window stands, every amount of it."""
    limit = standing.limit
    return {
        "scope": limit.scope,
        "name": limit.name,
        "window": limit.window,
        "models": limit.models,
        "limit_usd": str(standing.ceiling),
        "granted_usd": str(standing.granted),
        "spent_usd": str(standing.settled),
        "reserved_usd": str(standing.reserved),
        "in_doubt_usd": str(standing.in_doubt),
        "left_usd": str(standing.left),
        "used_percent": standing.used_percent,
        "resets_at": time_of(standing.resets_at),
        "only_observed": limit.only_observed,
    }
