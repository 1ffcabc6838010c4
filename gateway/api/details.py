"""Answers about one thing, and about what was made or found: rows with what belongs to them.

They hold shapes as `answers.py` does.
"""

from __future__ import annotations

from typing import Any, TypedDict

from gateway.api.answers import (
    DeliveryAnswer,
    EntryAnswer,
    JobAnswer,
    KeyAnswer,
    TeamAnswer,
    UserAnswer,
    WindowAnswer,
)
from gateway.core.job import Entry


class UserWithKeys(UserAnswer):
    """A user and their keys."""

    keys: list[KeyAnswer]


class NewKeyAnswer(TypedDict):
    """A key that was made; its text is shown this once."""

    id: str
    key: str
    user: str


class RotatedKeyAnswer(NewKeyAnswer):
    """A key that takes another's place."""

    replaces: str
    replaced_until: str | None


class SpendingAnswer(TypedDict):
    """Whether anything may be bought."""

    stopped: bool
    why: str | None


class SpendAnswer(TypedDict):
    """A row of spending; a first field is called by what it was asked for."""

    settled_usd: str
    reserved_usd: str
    in_doubt_usd: str
    jobs: int


class JobWithEntries(JobAnswer):
    """A job, and every entry about its money."""

    upstream_key: str | None
    looks: int
    suspicious: bool
    video_sha256: str | None
    entries: list[EntryAnswer]


class LineAnswer(TypedDict):
    """A line of a receipt: what an entry moved, and why."""

    kind: Entry
    at: str
    reserved_usd: str
    in_doubt_usd: str
    settled_usd: str
    reason: str | None


class ReceiptAnswer(JobAnswer):
    """A job, and what became of its money."""

    entries: list[LineAnswer]


class TeamWithWindows(TeamAnswer):
    """A team, and how its pool stands."""

    windows: list[WindowAnswer]


class UserPolicyAnswer(TypedDict):
    """The rules that apply to a user, where each was written, and how their windows stand."""

    user: str
    team: str | None
    policy: str
    rules: dict[str, Any]
    written_in: dict[str, str]
    """By the name of a rule, the file and line of it."""
    shared_rules: dict[str, Any]
    """The team's and the organization's."""
    shared_written_in: dict[str, str]
    windows: list[WindowAnswer]


class AdoptedJobAnswer(JobWithEntries):
    """A job that was bought elsewhere."""

    adopted: bool
    """Whether it is new here."""


class LedgerAnswer(TypedDict):
    """The ledger's sums at one moment."""

    settled_usd: str
    reserved_usd: str
    in_doubt_usd: str
    jobs: dict[str, int]
    """How many jobs are in each state."""


class CallsAnswer(TypedDict):
    """How calls of one class stand: what the key allows, and what is left of what is used of it."""

    per_minute: int
    said_by: str
    allowed_per_minute: int
    left: int
    waiting: int


class FailuresAnswer(TypedDict):
    """How many calls may still fail before the gateway lets fewer through."""

    allowed_per_30s: int
    left: int


class UpstreamAnswer(TypedDict):
    """How the way to Venice stands."""

    upstream: str
    key: str
    """What stands for the organization's key in records."""
    blocked: bool
    calls: dict[str, CallsAnswer]
    failures: FailuresAnswer
    breakers_open: list[str]
    closed_models: list[str]
    balance_usd: str | None
    balance_at: str | None
    balance_low: str | None


class VerificationAnswer(TypedDict):
    """What re-deriving every balance found."""

    ok: bool
    entries: int
    drift_usd: str
    problems: list[str]


class RepairAnswer(VerificationAnswer):
    """The same, after balances were derived anew."""

    repaired: int
    """How many balances had differed."""


class VideoTotalsAnswer(TypedDict):
    """The store in numbers, sizes in bytes."""

    videos: int
    bytes: int
    undelivered: int
    undelivered_bytes: int
    by_state: dict[str, int]
    """How many videos are here, evicted and purged."""
    expiring: int
    """How many go soon that nobody has fetched."""
    max_bytes: int
    free_bytes: int


class VideoProofAnswer(TypedDict):
    """What hashing every stored video found: ids of jobs, and names that no job has."""

    ok: bool
    checked: int
    damaged: list[str]
    missing: list[str]
    orphans: list[str]


class PurgeAnswer(TypedDict):
    """The videos that went, or would go."""

    videos: int
    bytes: int
    dry_run: bool
    jobs: list[str]


class TryAnswer(TypedDict):
    """One try to tell a notice."""

    at: str
    took_ms: int
    status: int | None
    why: str | None


class DeliveryWithTries(DeliveryAnswer):
    """A delivery, and every try."""

    attempts: list[TryAnswer]


class NoticeAnswer(TypedDict):
    """One notice: what it says, and every try to tell it."""

    notice: str
    event: str
    subject: str
    team: str | None
    user: str | None
    at: str
    facts: dict[str, Any]
    deliveries: list[DeliveryWithTries]


class NewAdminKeyAnswer(TypedDict):
    """An admin key that was made; its text is shown this once."""

    id: str
    key: str
    name: str
    role: str


class ResetAnswer(TypedDict):
    """Whose key is another one now."""

    name: str


class PoliciesAnswer(TypedDict):
    """The rules in force, in short."""

    version: str
    policies: list[str]
    teams: list[str]
    warnings: list[str]


class RulesAnswer(PoliciesAnswer):
    """The rules in force, in short and in full."""

    rules: dict[str, Any]


class WebhookAnswer(TypedDict):
    """Where a user is told of their own jobs."""

    url: str
    events: list[str]
    created_at: str


class NewWebhookAnswer(WebhookAnswer):
    """The same, with its signing secret, which is shown this once."""

    secret: str


class LinkAnswer(TypedDict):
    """A link that ends by itself."""

    url: str
    expires_at: str | None
