"""User keys: made, shown once, revoked and rotated. Only a digest of a key is ever kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.administer.office import Office
from gateway.core.budget import is_window
from gateway.core.errors import Conflict, InvalidRequest, Issue
from gateway.core.keys import digest
from gateway.core.money import Money
from gateway.records import Key
from gateway.secret_files import new_key


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its text, which is shown to its owner once and kept nowhere."""

    key: Key
    text: str = field(repr=False)


async def create_key(
    office: Office,
    actor: str,
    *,
    user: str,
    name: str | None = None,
    budget: tuple[str, Money] | None = None,
    models: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
    expires: str | None = None,
    delivery: str = "auto",
    is_service: bool = False,
) -> NewKey:
    """A new key of a user; `expires` is a length of time or a date."""
    office.user(user)
    if budget is not None and not is_window(budget[0]):
        what = "Use hour, day, week, month, total, or a length like 24h."
        raise InvalidRequest([Issue(("budget", "window"), what)])
    key_id, text = new_key()
    key = Key(
        id=key_id,
        user=user,
        digest=digest(text),
        name=name,
        budget=budget,
        models=models,
        tags=tags,
        delivery=delivery,
        is_service=is_service,
        created_at=office.clock.now(),
        expires_at=None if expires is None else office.moment(expires, "expires"),
    )
    await _add(office, actor, "key.create", key)
    return NewKey(key, text)


async def change_key(office: Office, actor: str, key_id: str, changes: Mapping[str, Any]) -> Key:
    """Other settings for a key that has not ended; `expires` is a length of time, a date or None.

    Its user and its budget stay: what was spent belongs to them.
    """
    key, now = office.key(key_id), office.clock.now()
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict(f"The key {key_id} has ended already. Create a new one instead.")
    wanted = dict(changes)
    if "expires" in wanted:
        until = wanted.pop("expires")
        wanted["expires_at"] = None if until is None else office.moment(until, "expires")
    if not wanted:
        return key
    key = await office.ledger.change_key(key_id, wanted)
    office.keyring.put_key(key)
    await office.audit(actor, "key.change", key_id, wanted)
    return key


async def revoke_key(office: Office, actor: str, key_id: str) -> Key:
    """The key opens nothing from its next request on."""
    key = office.key(key_id)
    if key.revoked_at is not None:
        return key
    key = await office.ledger.change_key(key_id, {"revoked_at": office.clock.now()})
    office.keyring.put_key(key)
    await office.audit(actor, "key.revoke", key_id, {"user": key.user})
    return key


async def rotate_key(
    office: Office, actor: str, key_id: str, overlap_ms: int
) -> tuple[NewKey, Key]:
    """A new key with the same settings, and the old one, which ends after the overlap.

    Both count as one key: what the old one spent stays in the windows that the new one has. A key
    that was made for so long is followed by one for as long.
    """
    old, now = office.key(key_id), office.clock.now()
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise Conflict(f"The key {key_id} has ended already. Create a new one instead.")
    if (newer := _successor(office, old)) is not None:
        raise Conflict(f"The key {key_id} was rotated already: rotate {newer.id}, its successor.")
    new_id, text = new_key()
    expires_at = None if old.expires_at is None else now + old.expires_at - old.created_at
    new = replace(
        old,
        id=new_id,
        digest=digest(text),
        created_at=now,
        expires_at=expires_at,
        origin=old.counts_as,
    )
    await _add(office, actor, "key.rotate", new)
    ends = now + overlap_ms
    if old.expires_at is None or old.expires_at > ends:
        old = await office.ledger.change_key(key_id, {"expires_at": ends})
        office.keyring.put_key(old)
    return NewKey(new, text), old


def _successor(office: Office, old: Key) -> Key | None:
    """The newest key that has taken the place of another, if any has."""
    family = [key for key in office.keyring.keys(old.user) if key.counts_as == old.counts_as]
    return family[-1] if family[-1].created_at > old.created_at else None


async def _add(office: Office, actor: str, act: str, key: Key) -> None:
    await office.ledger.add_key(key)
    office.keyring.put_key(key)
    window, amount = key.budget or (None, None)
    detail = {
        "user": key.user,
        "name": key.name,
        "budget_usd": amount,
        "per": window,
        "models": key.models,
        "tags": key.tags,
        "expires_at": key.expires_at,
        "is_service": key.is_service,
        "counts_as": key.counts_as,
    }
    await office.audit(actor, act, key.id, detail)
