"""What the gateway's own doors answer, field by field: the types that shapes are held to, of which
tables take their columns and `openapi.json` its schemas.

Amounts are text with six places, times RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any, TypedDict

from gateway.core.budget import Scope
from gateway.core.job import Entry, State
from gateway.core.notices import Telling


class UserAnswer(TypedDict):
    """A user."""

    name: str
    team: str | None
    policy: str | None
    email: str | None
    disabled_at: str | None
    created_at: str


class KeyAnswer(TypedDict):
    """A key, without what opens doors."""

    id: str
    user: str
    name: str | None
    budget_usd: str | None
    budget_window: str | None
    models: list[str]
    tags: list[str]
    delivery: str
    service: bool
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    counts_as: str


class TeamAnswer(TypedDict):
    """A team as the policy files name it, and who is in it."""

    name: str
    policy: str
    pool: dict[str, str]
    users: list[str]


class GrantAnswer(TypedDict):
    """A limit raised for a time."""

    id: str
    to: str
    window: str
    usd: str
    until: str
    why: str
    by: str
    created_at: str
    revoked_at: str | None


class JobAnswer(TypedDict):
    """A job as its user may see it."""

    job: str
    queue_id: str | None
    state: State
    user: str
    team: str | None
    key: str
    model: str
    quote_usd: str
    reserved_usd: str
    in_doubt_usd: str
    settled_usd: str
    released_usd: str
    created_at: str
    sent_at: str | None
    accepted_at: str | None
    ready_at: str | None
    stored_at: str | None
    delivered_at: str | None
    completed_at: str | None
    ended_at: str | None
    in_doubt_since: str | None
    seconds: int | None
    resolution: str | None
    private: bool
    video_bytes: int | None
    tags: list[str]
    policy: str
    policy_version: str
    reason: str | None


class EntryAnswer(TypedDict):
    """A ledger entry: signed changes of what is reserved, in doubt and settled."""

    id: int
    job: str
    kind: Entry
    at: str
    reserved_usd: str
    in_doubt_usd: str
    settled_usd: str
    reason: str | None
    by: str | None
    corrects: int | None


class RefusalAnswer(TypedDict):
    """An order that was refused, and by which rule."""

    at: str
    code: str
    rule: str
    model: str
    amount_usd: str | None


class WindowAnswer(TypedDict):
    """How a window stands, every amount of it."""

    scope: Scope
    name: str
    window: str
    models: str
    limit_usd: str
    granted_usd: str
    spent_usd: str
    reserved_usd: str
    in_doubt_usd: str
    left_usd: str
    used_percent: int | None
    resets_at: str | None
    only_observed: bool


class VideoAnswer(TypedDict):
    """A stored video."""

    job: str
    queue_id: str | None
    user: str
    bytes: int | None
    stored_at: str | None
    delivered_at: str | None
    expires_at: str | None


class AdminKeyAnswer(TypedDict):
    """An administrator's key, without what opens doors."""

    id: str
    name: str
    role: str
    created_at: str
    revoked_at: str | None


class AuditAnswer(TypedDict):
    """One act of administration."""

    number: int
    at: str
    by: str
    act: str
    target: str
    detail: dict[str, Any]


class DeliveryAnswer(TypedDict):
    """One notice on its way to one receiver."""

    number: int
    notice: str
    event: str
    subject: str
    team: str | None
    user: str | None
    at: str
    receiver: str
    state: Telling
    tries: int
    next_at: str | None
    ended_at: str | None
    last_status: int | None
    last_why: str | None
