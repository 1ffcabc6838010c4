"""Who holds which key, in memory: from the text of a key to its caller, without a database.

Keys are found by their digest; a revoked key is refused from the moment the ledger says so.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.core.errors import NotAuthenticated
from gateway.core.keys import KEY_CHARACTERS_MAX, digest
from gateway.ports import Clock, Ledger
from gateway.records import AdminKey, Caller, Key, Role, User

_UNKNOWN = (
    "This key opens nothing here. Use a key of this gateway (vgw_…) as "
    "Authorization: Bearer; ask your administrator for one."
)


class Keyring:
    """Users and keys as the ledger has them."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._users: dict[str, User] = {}
        self._callers: dict[str, Caller] = {}

    async def load(self) -> None:
        """Read everybody."""
        self._users = {user.name: user for user in await self._ledger.users()}
        self._callers = {}
        for key in await self._ledger.keys():
            self.put_key(key)

    def put_user(self, user: User) -> None:
        """Take in a user as it is now."""
        self._users[user.name] = user
        for key_digest, caller in self._callers.items():
            if caller.user.name == user.name:
                self._callers[key_digest] = replace(caller, user=user)

    def put_key(self, key: Key) -> None:
        """Take in a key as it is now."""
        self._callers[key.digest] = Caller(self._users[key.user], key)

    def user(self, name: str) -> User | None:
        """A user by name."""
        return self._users.get(name)

    def users(self) -> list[User]:
        """Everybody, by name."""
        return [self._users[name] for name in sorted(self._users)]

    def keys(self, user: str | None = None) -> list[Key]:
        """All keys, or those of one user, oldest first."""
        found = [c.key for c in self._callers.values() if user is None or c.user.name == user]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def key(self, key_id: str) -> Key | None:
        """A key by its id."""
        return next((c.key for c in self._callers.values() if c.key.id == key_id), None)

    def caller(self, text: str) -> Caller:
        """Whose key it is; `NotAuthenticated` with what to do where it is nobody's."""
        caller = self._callers.get(digest(text)) if len(text) <= KEY_CHARACTERS_MAX else None
        if caller is None or caller.key.revoked_at is not None:
            raise NotAuthenticated(_UNKNOWN)
        if caller.key.expires_at is not None and caller.key.expires_at <= self._clock.now():
            raise NotAuthenticated("This key has expired. Ask your administrator for a new one.")
        if caller.user.disabled_at is not None:
            raise NotAuthenticated("This user is disabled. Ask your administrator.")
        return caller


ROOT = "admin"
"""What the administrator is called whose key is in the settings or the data directory."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who administers, as the audit knows them."""

    name: str
    may_change: bool


class AdminKeys:
    """Whose admin key it is: the root's, read anew whenever it is another, or a named one's."""

    def __init__(self, ledger: Ledger, root: Callable[[], str]) -> None:
        self._ledger = ledger
        self._root = root
        self._keys: dict[str, AdminKey] = {}

    async def load(self) -> None:
        """Read the named ones."""
        for key in await self._ledger.admin_keys():
            self.put(key)

    def put(self, key: AdminKey) -> None:
        """Take in a key as it is now."""
        self._keys[key.digest] = key

    def use_root(self, secret: str) -> None:
        """Go on with another root key."""
        self._root = lambda: secret

    def named(self) -> list[AdminKey]:
        """The named keys, by name, revoked ones too."""
        return sorted(self._keys.values(), key=lambda key: key.name)

    def administrator(self, text: str) -> Administrator | None:
        """Whose key it is; None where it opens nothing.

        Compared by digest: time does not tell how much of a key is right.
        """
        given = digest(text)
        if hmac.compare_digest(digest(self._root()), given):
            return Administrator(ROOT, may_change=True)
        key = self._keys.get(given)
        if key is None or key.revoked_at is not None:
            return None
        return Administrator(key.name, may_change=key.role == Role.ADMIN)
