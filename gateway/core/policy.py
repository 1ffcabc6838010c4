"""The rules an organization writes down, as values, and which of them apply to whom.

Reading files is `policies.py`'s work, holding a job against them `job_check.py`'s. Amounts are
`Money`, durations milliseconds, sizes bytes, shares whole percents.
"""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.budget import Calendar, Limit, Scope
from gateway.core.money import Money
from gateway.core.notation import (
    Amount,
    Count,
    Duration,
    Glob,
    Host,
    Name,
    Percent,
    Positive,
    Resolution,
    Size,
    Version,
    Windows,
    Zone,
)
from gateway.core.notify import Notify
from gateway.core.retention import KeepRules
from gateway.core.retry import RetryRules

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ORGANIZATION_NAME = "organization"
REFERENCE_SECONDS_WORST = 150
"""What Venice's quote accepts at most: taken where nobody can know the real length."""

Any_ = Literal["any"]


class _Rules(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class Organization(_Rules):
    """The organization itself: its calendar and the pool all of its users share."""

    timezone: Zone = ZoneInfo("UTC")
    week_starts: Literal[
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
    ] = "monday"
    pool: Windows = {}

    @property
    def calendar(self) -> Calendar:
        """How the organization counts days and weeks."""
        return Calendar(self.timezone, WEEKDAYS.index(self.week_starts))


class VeniceRules(_Rules):
    """Venice's own limits on the key; the gateway stays below them."""

    queue_per_minute: Literal["auto"] | Positive = "auto"
    retrieve_per_minute: Literal["auto"] | Positive = "auto"
    failures_per_30s: Annotated[Positive, Field(ge=4)] = 20
    hold: Duration = 25_000
    download_hosts: tuple[Host, ...] = ("private-share.venice.ai",)


class VideoRules(_Rules):
    """How much is kept, how long, and what `complete` does."""

    max_bytes: Literal["auto"] | Size = "auto"
    free_disk: Size = 5 * 2**30
    keep: Duration = 7 * 86_400_000
    keep_undelivered: Duration = 30 * 86_400_000
    on_complete: Literal["purge", "keep"] = "purge"
    grace: Duration = 86_400_000
    fetches: Positive = 4

    @property
    def keep_rules(self) -> KeepRules:
        """The part of it that says how long a video stays."""
        return KeepRules(
            keep=self.keep,
            keep_undelivered=self.keep_undelivered,
            grace=self.grace,
            purge_on_complete=self.on_complete == "purge",
        )


class RetrySection(_Rules):
    """What is tried again, how often, and how patiently."""

    attempts: Annotated[Positive, Field(le=10)] = 3
    base: Duration = 500
    cap: Duration = 20_000
    share: Annotated[Percent, Field(le=100)] = 10
    queue_on_500: Literal["once", "never"] = "once"

    @property
    def rules(self) -> RetryRules:
        """The same as the retry table takes it."""
        return RetryRules(
            attempts=self.attempts,
            base=timedelta(milliseconds=self.base).total_seconds(),
            cap=timedelta(milliseconds=self.cap).total_seconds(),
            share_percent=self.share,
            queue_on_500=self.queue_on_500 == "once",
        )


class QuoteRules(_Rules):
    """How old a quote may be, how far it may drift, and which models may be free."""

    fresh: Duration = 60_000
    drift: Percent = 10
    free_models: tuple[Glob, ...] = ()


class DoubtRules(_Rules):
    """When a job in doubt is decided without a person; only where the bill can be read."""

    settle_after: Duration = 72 * 3_600_000
    release_after: Duration = 3_600_000


class ModelChoice(_Rules):
    """Which models may be used: a name must match `allow` and must not match `deny`."""

    allow: tuple[Glob, ...] = ("*",)
    deny: tuple[Glob, ...] = ()

    def allows(self, model: str) -> bool:
        """Whether the model may be used."""
        return matches(model, self.allow) and not matches(model, self.deny)


class JobRules(_Rules):
    """What a single job may be and cost."""

    usd: Any_ | Amount = "any"
    seconds: Any_ | Positive | tuple[Positive, ...] = "any"
    """A number is the most; a list is exactly those."""
    resolutions: Any_ | tuple[Resolution, ...] = "any"
    audio: Literal["allowed", "refused"] = "allowed"


class ModelRules(_Rules):
    """What a policy says about models that match one pattern."""

    job_usd: Any_ | Amount = "any"
    each_user: Windows = {}
    each_key: Windows = {}
    reference_seconds: Annotated[Positive, Field(le=REFERENCE_SECONDS_WORST)] | None = None


class KeyRateRules(_Rules):
    """How often one key may ask, beside what its user may; none says nothing of its own."""

    requests_per_minute: Count | None = None
    polls_per_minute: Count | None = None
    queue_per_minute: Count | None = None
    active_jobs: Count | None = None


class RateRules(_Rules):
    """How often one user may ask with all keys together, and how many of their jobs may be in the
    making."""

    requests_per_minute: Count = 600
    polls_per_minute: Count = 20_000
    queue_per_minute: Count = 20
    active_jobs: Count = 20
    weight: Positive = 1
    """Orders that a user has in one turn at the gate."""
    each_key: KeyRateRules = KeyRateRules()
    """What each key of theirs may alone, so that one of them cannot use up what all may."""


class Policy(_Rules):
    """A named set of rules for users."""

    each_user: Windows = {}
    each_key: Windows = {}
    warn_at: tuple[Percent, ...] = (50, 80, 100)
    """Used shares of a window at which the log, and whoever is notified, is told."""
    models: ModelChoice = ModelChoice()
    job: JobRules = JobRules()
    per_model: dict[Glob, ModelRules] = {}
    rate: RateRules = RateRules()
    observe: tuple[Literal["models", "job", "rate", "budgets"], ...] = ()
    webhook_hosts: tuple[Host, ...] = ()
    """Where its users may have notices of their own jobs sent to; nowhere without any."""

    def model_rules(self, model: str) -> list[tuple[str, ModelRules]]:
        """The `per_model` sections that apply to a model, with their patterns."""
        return [(glob, rules) for glob, rules in self.per_model.items() if fnmatchcase(model, glob)]

    def reference_seconds(self, model: str) -> int:
        """How long references of unknown length are taken to be, in seconds.

        Where several patterns say so, the longest pattern counts: it means this model most.
        """
        known = [(len(g), r.reference_seconds) for g, r in self.model_rules(model)]
        said = [(length, seconds) for length, seconds in known if seconds is not None]
        return max(said)[1] if said else REFERENCE_SECONDS_WORST


class Team(_Rules):
    """A team: the policy of its users, and the pool they share."""

    policy: str = "default"
    pool: Windows = {}


class Rulebook(_Rules):
    """Everything in `policies/`, as one document."""

    version: Version
    organization: Organization = Organization()
    venice: VeniceRules = VeniceRules()
    videos: VideoRules = VideoRules()
    retry: RetrySection = RetrySection()
    quotes: QuoteRules = QuoteRules()
    in_doubt: DoubtRules = DoubtRules()
    notify: tuple[Notify, ...] = ()
    teams: dict[Name, Team] = {}
    policies: dict[Name, Policy]

    def policy_name_for(self, own: str | None, team: str | None) -> str:
        """The policy that applies to a user: their own, else their team's, else `default`."""
        if own is not None and own in self.policies:
            return own
        if team is not None and team in self.teams:
            return self.teams[team].policy
        return "default"

    def limits_for(
        self,
        *,
        key_id: str,
        key_name: str | None,
        key_budget: tuple[str, Money] | None,
        user: str,
        team: str | None,
        policy: Policy,
        model: str | None,
    ) -> list[Limit]:
        """Every budget that a job of this model by this key touches; None takes every model's."""
        seen = ("budgets" in policy.observe, policy.warn_at)
        key = key_name or key_id
        limits = []
        if key_budget is not None:
            limits.append(Limit(Scope.KEY, key_id, key, *key_budget, warn_at=policy.warn_at))
        own = [("*", policy.each_key, policy.each_user)]
        per_model = policy.per_model.items() if model is None else policy.model_rules(model)
        own += [(glob, r.each_key, r.each_user) for glob, r in per_model]
        for glob, per_key, per_user in own:
            for window, amount in per_key.items():
                limits.append(Limit(Scope.KEY, key_id, key, window, amount, glob, *seen))
            for window, amount in per_user.items():
                limits.append(Limit(Scope.USER, user, user, window, amount, glob, *seen))
        return limits + self._pools(team)

    def _pools(self, team: str | None) -> list[Limit]:
        """What is shared: the team's pool and the organization's.

        Who told of them would depend on whose order it was, if it were the user's policy that
        says when: it is the team's own, and `default`'s.
        """
        limits = []
        if team is not None and team in self.teams:
            warn_at = self.policies[self.teams[team].policy].warn_at
            for window, amount in self.teams[team].pool.items():
                limits.append(Limit(Scope.TEAM, team, team, window, amount, warn_at=warn_at))
        warn_at = self.policies["default"].warn_at if "default" in self.policies else ()
        name = ORGANIZATION_NAME
        for window, amount in self.organization.pool.items():
            limits.append(Limit(Scope.ORGANIZATION, name, name, window, amount, warn_at=warn_at))
        return limits


def matches(model: str, globs: tuple[str, ...]) -> bool:
    """Whether a model is meant by any of the patterns."""
    return any(fnmatchcase(model, glob) for glob in globs)
