"""What the doors answer that users open with their own keys, about their standing and their orders.

They hold shapes as `answers.py` does.
"""

from __future__ import annotations

from typing import Any, TypedDict

from gateway.api.answers import JobAnswer, WindowAnswer
from gateway.api.details import SpendAnswer
from gateway.core.budget import Scope


class OwnKeyAnswer(TypedDict):
    """The key that asked, without what opens doors."""

    id: str
    name: str | None
    models: list[str]
    tags: list[str]
    delivery: str
    expires_at: str | None


class OwnWindowAnswer(WindowAnswer):
    """How a window of the caller's own stands."""

    is_limiting: bool
    """Whether none has less left."""


class SharedWindowAnswer(TypedDict):
    """A window shared with others: no amount of it is told."""

    scope: Scope
    name: str
    window: str
    is_limiting: bool


class ExpiringAnswer(TypedDict):
    """A video that its user has not fetched, and that goes soon."""

    job: str
    queue_id: str | None
    expires_at: str | None


class MeAnswer(TypedDict):
    """Who the caller is here, what applies to them, and how every window stands."""

    user: str
    team: str | None
    policy: str
    key: OwnKeyAnswer
    rules: dict[str, Any]
    active_jobs: int
    budgets: list[OwnWindowAnswer | SharedWindowAnswer]
    in_doubt: list[JobAnswer]
    expiring: list[ExpiringAnswer]


class DayAnswer(SpendAnswer):
    """What was spent on one day, as the organization counts days."""

    day: str | None


class ModelAnswer(SpendAnswer):
    """What was spent on one model."""

    model: str | None


class UsageAnswer(TypedDict):
    """The caller's spending in a period; null where it has no bound."""

    since: str | None
    until: str | None
    days: list[DayAnswer]
    models: list[ModelAnswer]


class SharedTriedAnswer(TypedDict):
    """A window shared with others, and whether an order fits into it: no amount of it is told."""

    scope: Scope
    name: str
    window: str
    models: str
    fits: bool


class TriedAnswer(SharedTriedAnswer):
    """A window of the caller's own before and after an order."""

    limit_usd: str
    used_before_usd: str
    used_after_usd: str
    left_before_usd: str
    left_after_usd: str
    resets_at: str | None


class CheaperAnswer(TypedDict):
    """A form of an order that would pass: what to change, and what it costs then."""

    changes: dict[str, Any]
    quote_usd: str


class _DryRun(TypedDict):
    would_pass: bool
    quote_usd: str | None
    budgets: list[TriedAnswer | SharedTriedAnswer]
    cheaper: CheaperAnswer | None


class DryRunAnswer(_DryRun, total=False):
    """What would become of an order; `rule` and `allowed` where policy refuses it, `message` where
    anything but a budget does."""

    rule: str
    allowed: Any
    message: str
