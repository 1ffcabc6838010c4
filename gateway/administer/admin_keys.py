"""Administrators' keys: named, with a role, made and revoked. Only digests of them are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.administer.office import Office
from gateway.core.errors import Conflict, NotFound
from gateway.core.keys import digest
from gateway.keyring import ROOT
from gateway.ports import AlreadyThere, Unknown
from gateway.records import AdminKey, Role
from gateway.secret_files import new_key


@dataclass(frozen=True, slots=True)
class NewAdminKey:
    """A key and its text, which is shown to its owner once and kept nowhere."""

    key: AdminKey
    text: str = field(repr=False)


async def create(office: Office, actor: str, name: str, role: Role) -> NewAdminKey:
    """A new administrator; `Conflict` where the name is or was somebody's."""
    if name == ROOT:
        raise Conflict(f"{ROOT} is whoever holds the gateway's own admin key. Use another name.")
    key_id, text = new_key(admin=True)
    key = AdminKey(key_id, name, role, digest(text), office.clock.now())
    try:
        await office.ledger.add_admin_key(key)
    except AlreadyThere as error:
        raise Conflict(
            f"The name {name} is taken, if only by a revoked key: the audit must stay plain. Use "
            "another name."
        ) from error
    office.admin_keys.put(key)
    await office.audit(actor, "admin_key.create", name, {"id": key_id, "role": role})
    return NewAdminKey(key, text)


async def revoke(office: Office, actor: str, name: str) -> AdminKey:
    """The key opens nothing from its next request on."""
    try:
        key = await office.ledger.revoke_admin_key(name, office.clock.now())
    except Unknown as error:
        own = " The gateway's own is replaced by admin-key reset." if name == ROOT else ""
        raise NotFound(f"There is no admin key {name} that opens anything.{own}") from error
    office.admin_keys.put(key)
    await office.audit(actor, "admin_key.revoke", name, {"id": key.id})
    return key


async def note_reset(office: Office, actor: str) -> None:
    """Keep that the root's key is another one now."""
    await office.audit(actor, "admin_key.reset", ROOT, {})
