"""A user and a key for whoever has just started the simulator; never made beside real money."""

from __future__ import annotations

from pathlib import Path

from gateway.app import Gateway
from gateway.core.keys import digest, parse
from gateway.ports import AlreadyThere
from gateway.records import Key, User
from gateway.secret_files import new_key, read_or_make

NEWCOMER = "newcomer"
KEY_FILE = "newcomer.key"
"""Kept, unlike any other user key, so that a restart shows the same one: it spends play money."""


async def ready_key(gateway: Gateway, data_dir: Path) -> str:
    """The newcomer's key, the same at each start."""
    services = gateway.services
    text = read_or_make(data_dir / "simulator" / KEY_FILE, new_key()[1])
    parsed = parse(text)
    if parsed is None or services.keyring.key(parsed.id) is not None:
        return text
    now = services.clock.now()
    user = User(NEWCOMER, created_at=now)
    try:
        await services.ledger.add_user(user)
    except AlreadyThere:
        user = services.keyring.user(NEWCOMER) or user
    services.keyring.put_user(user)
    key = Key(parsed.id, NEWCOMER, digest(text), name="newcomer", created_at=now)
    await services.ledger.add_key(key)
    services.keyring.put_key(key)
    return text
