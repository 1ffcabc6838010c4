"""Rows of the database as the values of `ports.py`, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gateway.core.job import Entry, Holding, State
from gateway.core.money import Money
from gateway.records import EntryRow, Job, Key, Refusal, User

JOB_COLUMNS = tuple(field.name for field in fields(Job))
JOB_FACTS = frozenset(JOB_COLUMNS) - {
    "id",
    "user",
    "key_id",
    "team",
    "model",
    "state",
    "holding",
    "created_at",
    "quote",
    "reserved",
    "in_doubt",
    "settled",
}
"""What may be recorded about a job beside its state and its money."""
USER_CHANGES = frozenset({"team", "policy", "email", "disabled_at"})
KEY_CHANGES = frozenset({"name", "expires_at", "revoked_at", "models", "tags", "delivery"})

_MONEY = frozenset({"quote", "reserved", "in_doubt", "settled", "remaining"})
_TRUTHS = frozenset({"answer_owed", "is_private", "delete_wanted", "is_suspicious", "copy_gone"})
_SELECTED = ", ".join(JOB_COLUMNS)
SELECT_JOB = f"SELECT {_SELECTED} FROM jobs"


def encode(value: Any) -> Any:
    """A value as SQLite stores it."""
    if isinstance(value, Money):
        return value.micros
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return json.dumps(value)
    return value


def job_of(row: Sequence[Any]) -> Job:
    """A row of `SELECT_JOB`."""
    known: dict[str, Any] = dict(zip(JOB_COLUMNS, row, strict=True))
    for name in _MONEY:
        if known[name] is not None:
            known[name] = Money(known[name])
    for name in _TRUTHS:
        known[name] = bool(known[name])
    known["state"] = State(known["state"])
    known["holding"] = Holding(known["holding"])
    known["tags"] = tuple(json.loads(known["tags"]))
    return Job(**known)


SELECT_ENTRY = (
    "SELECT id, job, kind, at, reserved, in_doubt, settled, reason, actor, corrects FROM entries"
)


def entry_of(row: Sequence[Any]) -> EntryRow:
    """A row of `SELECT_ENTRY`."""
    number, job, kind, at, reserved, in_doubt, settled, *rest = row
    amounts = (Money(reserved), Money(in_doubt), Money(settled))
    return EntryRow(number, job, Entry(kind), at, *amounts, *rest)


SELECT_REFUSAL = "SELECT number, at, code, rule, model, amount FROM refusals"


def refusal_of(row: Sequence[Any]) -> Refusal:
    """A row of `SELECT_REFUSAL`."""
    number, at, code, rule, model, micros = row
    return Refusal(number, at, code, rule, model, None if micros is None else Money(micros))


USER_COLUMNS = "name, team, policy, email, disabled_at, created_at"


def user_of(row: Sequence[Any]) -> User:
    """A row of `USER_COLUMNS`."""
    return User(*row)


KEY_COLUMNS = (
    "id, user, digest, name, budget_window, budget_micros, models, tags, delivery, is_service, "
    "created_at, expires_at, revoked_at, origin"
)


def key_of(row: Sequence[Any]) -> Key:
    """A row of `KEY_COLUMNS`."""
    key_id, user, digest, name, window, micros, models, tags, delivery, is_service, *rest = row
    return Key(
        id=key_id,
        user=user,
        digest=digest,
        name=name,
        budget=None if window is None else (window, Money(micros)),
        models=tuple(json.loads(models)),
        tags=tuple(json.loads(tags)),
        delivery=delivery,
        is_service=bool(is_service),
        created_at=rest[0],
        expires_at=rest[1],
        revoked_at=rest[2],
        origin=rest[3],
    )


def key_row(key: Key) -> tuple[Any, ...]:
    """The values of `KEY_COLUMNS` for a key."""
    window, amount = key.budget or (None, None)
    values = (key.id, key.user, key.digest, key.name, window, amount, key.models, key.tags)
    times = (key.created_at, key.expires_at, key.revoked_at)
    rest = (key.delivery, key.is_service, *times, key.origin)
    return tuple(encode(value) for value in (*values, *rest))


def assignments(changes: Mapping[str, Any], allowed: frozenset[str]) -> tuple[str, list[Any]]:
    """`a = ?, b = ?` and the values, for columns that may change."""
    unknown = set(changes) - allowed
    assert not unknown, f"these may not be changed: {sorted(unknown)}"
    return ", ".join(f"{name} = ?" for name in changes), [encode(v) for v in changes.values()]
