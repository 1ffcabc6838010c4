"""Users and teams: who there is, and under which rules. Moving a user moves no money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.administer.office import Office
from gateway.core.budget import Limit, Scope, Standing
from gateway.core.errors import Conflict
from gateway.core.policy import Team
from gateway.ports import AlreadyThere
from gateway.records import Caller, Key, User


async def add_user(
    office: Office,
    actor: str,
    *,
    name: str,
    team: str | None = None,
    policy: str | None = None,
    email: str | None = None,
) -> User:
    """A new user; `Conflict` where the name is taken, `NotFound` for an unknown team or policy."""
    office.require_team(team)
    office.require_policy(policy)
    user = User(name, team, policy, email, created_at=office.clock.now())
    try:
        await office.ledger.add_user(user)
    except AlreadyThere as error:
        raise Conflict(f"There is a user {name} already.") from error
    office.keyring.put_user(user)
    detail = {"team": team, "policy": policy, "email": email}
    await office.audit(actor, "user.add", name, detail)
    return user


async def change_user(
    office: Office, actor: str, name: str, changes: Mapping[str, Any], *, act: str = "user.change"
) -> User:
    """The user with another team, policy or email; what they spent stays where it was spent."""
    office.user(name)
    office.require_team(changes.get("team"))
    office.require_policy(changes.get("policy"))
    user = await office.ledger.change_user(name, changes)
    office.keyring.put_user(user)
    await office.audit(actor, act, name, changes)
    return user


async def disable_user(office: Office, actor: str, name: str) -> User:
    """All keys of the user are refused from the next request on; running jobs go on."""
    if office.user(name).disabled_at is not None:
        return office.user(name)
    changes = {"disabled_at": office.clock.now()}
    return await change_user(office, actor, name, changes, act="user.disable")


async def enable_user(office: Office, actor: str, name: str) -> User:
    """The user's keys open again."""
    return await change_user(office, actor, name, {"disabled_at": None}, act="user.enable")


def policy_name(office: Office, user: User) -> str:
    """The policy that applies to a user."""
    return office.rulebook.policy_name_for(user.policy, user.team)


async def standings(office: Office, user: User) -> list[Standing]:
    """How every window stands that an order of a user may touch: those of each of their keys that
    opens, their own, and the pools they share."""
    keys = [key for key in office.keyring.keys(user.name) if key.revoked_at is None]
    nobody = Key(id="", user=user.name, digest="")
    limits = [limit for key in keys for limit in _key_limits(office, Caller(user, key))]
    shared = limits_of(office, Caller(user, nobody))
    limits += [limit for limit in shared if limit.scope is not Scope.KEY]
    return await _standings(office, limits)


def _key_limits(office: Office, caller: Caller) -> list[Limit]:
    return [limit for limit in limits_of(office, caller) if limit.scope is Scope.KEY]


def limits_of(office: Office, caller: Caller) -> list[Limit]:
    """Every budget that a job of this caller may touch, of whichever model."""
    return office.rulebook.limits_for(
        key_id=caller.key.counts_as,
        key_name=caller.key.label,
        key_budget=caller.key.budget,
        user=caller.user.name,
        team=caller.user.team,
        policy=office.rulebook.policies[policy_name(office, caller.user)],
        model=None,
    )


def teams(office: Office) -> dict[str, tuple[Team, list[User]]]:
    """Every team the policy files name, with its users."""
    everybody = office.keyring.users()
    return {
        name: (team, [user for user in everybody if user.team == name])
        for name, team in sorted(office.rulebook.teams.items())
    }


async def team_standings(office: Office, name: str) -> list[Standing]:
    """How a team's pool stands; `NotFound` for a team no policy file names."""
    office.require_team(name)
    pool = office.rulebook.teams[name].pool
    return await _standings(
        office, [Limit(Scope.TEAM, name, name, window, amount) for window, amount in pool.items()]
    )


async def _standings(office: Office, limits: Sequence[Limit]) -> list[Standing]:
    calendar = office.rulebook.organization.calendar
    return await office.ledger.standings(limits, calendar, office.clock.now())
