"""What is odd about rules that can be used: windows and pools that do not go together.

It refuses nothing: an administrator may mean it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from gateway.core.money import ZERO, Money
from gateway.core.policy import Policy, Rulebook

Membership = tuple[str | None, str | None]
"""A user's team and a policy of their own, where they have one."""
CHEAPEST = Money.from_text("0.05")
"""Even the cheapest videos cost some cents: a limit below that is most likely a slip."""


def too_small(rulebook: Rulebook) -> Iterator[str]:
    """Windows that could not hold one job of the highest price that is allowed."""
    for name, policy in rulebook.policies.items():
        for where, windows, job in _limits_of(policy):
            yield from _below(f"policies.{name}.{where}", windows, job)
    dearest = max(
        (p.job.usd for p in rulebook.policies.values() if p.job.usd != "any"), default=ZERO
    )
    yield from _below("organization.pool", rulebook.organization.pool, dearest)
    for name, team in rulebook.teams.items():
        job = rulebook.policies[team.policy].job.usd
        yield from _below(f"teams.{name}.pool", team.pool, job)


def _limits_of(policy: Policy) -> Iterator[tuple[str, Mapping[str, Money], Money | str]]:
    """The windows of a policy, each group with the highest price of a job that counts in it."""
    yield "each_user", policy.each_user, policy.job.usd
    yield "each_key", policy.each_key, policy.job.usd
    for glob, rules in policy.per_model.items():
        prices = [price for price in (policy.job.usd, rules.job_usd) if isinstance(price, Money)]
        job = min(prices, default="any")
        yield f"per_model.{glob}.each_user", rules.each_user, job
        yield f"per_model.{glob}.each_key", rules.each_key, job


def _below(where: str, windows: Mapping[str, Money], job: Money | str) -> Iterator[str]:
    for window, limit in windows.items():
        # A limit of zero is no mistake: it forbids.
        if isinstance(job, Money) and ZERO < limit < job:
            yield f"{where}.{window} is {limit}, too small for one job of {job}"
        elif ZERO < limit < CHEAPEST:
            yield f"{where}.{window} is {limit}, too small for any video"


def overcommitted(rulebook: Rulebook, users: Mapping[Membership, int]) -> Iterator[str]:
    """Pools that would not last if all of their users spent what they may."""
    everyone: Counter[str] = Counter()
    by_team: dict[str, Counter[str]] = defaultdict(Counter)
    for (member_of, own), number in users.items():
        each_user = rulebook.policies[rulebook.policy_name_for(own, member_of)].each_user
        together = {window: number * limit.micros for window, limit in each_user.items()}
        everyone.update(together)
        if member_of is not None:
            by_team[member_of].update(together)
    for name, team in rulebook.teams.items():
        yield from _beyond(f"teams.{name}.pool", team.pool, by_team[name])
    yield from _beyond("organization.pool", rulebook.organization.pool, everyone)


def _beyond(where: str, pool: Mapping[str, Money], together: Mapping[str, int]) -> Iterator[str]:
    for window, limit in pool.items():
        if (sum_ := Money(together.get(window, 0))) > limit:
            yield f"{where}.{window} is {limit}, but its users may spend {sum_} together"
