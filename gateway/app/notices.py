"""Puts together what tells people and programs of what happens."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack

from gateway.keyring import Keyring
from gateway.noticing import Noticing
from gateway.ports import Clock
from gateway.receivers import Receivers
from gateway.rules import Rules
from gateway.secret_files import read_or_make
from gateway.settings import Settings
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.outbox import SqliteOutbox
from gateway.telling import Telling
from gateway.upstream.webhooks import WebhookClient
from gateway.workers.notifier import Notifier

WEBHOOK_KEY_FILE = "webhooks.key"


class NoticeParts:
    """The outbox and who is told; after `begin`, also those who do it."""

    def __init__(
        self,
        ledger: SqliteLedger,
        keyring: Keyring,
        clock: Clock,
        rules: Rules,
        settings: Settings,
    ) -> None:
        self._clock = clock
        self.outbox = SqliteOutbox(ledger.access)
        self.receivers = Receivers(
            self.outbox, keyring, clock, lambda: rules.current.rulebook, webhook_secret(settings)
        )
        self.noticing = Noticing(ledger, self.outbox, self.receivers, clock)

    def begin(self, stack: AsyncExitStack) -> Notifier:
        """The chore, and the end of what it leaves under way."""
        messenger = WebhookClient()
        stack.push_async_callback(messenger.close)
        telling = Telling(self.outbox, messenger, self.receivers, self._clock)
        stack.push_async_callback(telling.close)
        stack.push_async_callback(self.noticing.finish)
        return Notifier(self.noticing, telling, self.outbox, self._clock)


def webhook_secret(settings: Settings) -> Callable[[], bytes]:
    """The gateway's own secret, made when it is first needed."""
    path = settings.data_dir / WEBHOOK_KEY_FILE
    return lambda: bytes.fromhex(read_or_make(path, secrets.token_hex(32)))
