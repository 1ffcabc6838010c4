"""Grants: a limit raised by an amount, in one window of one scope, until a moment."""

from __future__ import annotations

import secrets

from gateway.administer.office import Office
from gateway.core.budget import Scope
from gateway.core.errors import InvalidRequest, Issue, NotFound
from gateway.core.keys import ID_CHARACTERS, random_text
from gateway.core.money import ZERO, Money
from gateway.core.policy import ORGANIZATION_NAME
from gateway.ports import Unknown
from gateway.records import Grant


async def add_grant(
    office: Office, actor: str, *, to: str, amount: Money, window: str, until: str, why: str
) -> Grant:
    """Raise a limit: `to` reads `user:NAME`, `key:ID`, `team:NAME` or `organization`."""
    if amount <= ZERO:
        raise InvalidRequest([Issue(("usd",), "A grant raises a limit: give more than 0.")])
    scope, scope_id = _whose(office, to)
    grant = Grant(
        id="g" + random_text(secrets.token_bytes(16), ID_CHARACTERS),
        scope=scope,
        scope_id=scope_id,
        window=window,
        amount=amount,
        until=office.moment(until, "until"),
        why=why,
        actor=actor,
        created_at=office.clock.now(),
    )
    await office.ledger.add_grant(grant)
    detail = {"to": to, "usd": amount, "window": window, "until": grant.until, "why": why}
    await office.audit(actor, "grant.add", grant.id, detail)
    return grant


async def revoke_grant(office: Office, actor: str, grant_id: str) -> Grant:
    """End a grant now; what was spent under it stays spent."""
    try:
        grant = await office.ledger.revoke_grant(grant_id, office.clock.now())
    except Unknown as error:
        raise NotFound(f"There is no grant {grant_id} that has not ended.") from error
    await office.audit(actor, "grant.revoke", grant_id, {"to": f"{grant.scope}:{grant.scope_id}"})
    return grant


def _whose(office: Office, to: str) -> tuple[Scope, str]:
    if to == ORGANIZATION_NAME:
        return Scope.ORGANIZATION, ORGANIZATION_NAME
    scope, _, name = to.partition(":")
    if scope == Scope.USER and name:
        office.user(name)
    elif scope == Scope.KEY and name:
        name = office.key(name).counts_as
    elif scope == Scope.TEAM and name:
        office.require_team(name)
    else:
        what = "Name whose limit it is: user:NAME, key:ID, team:NAME or organization."
        raise InvalidRequest([Issue(("to",), what)])
    return Scope(scope), name
