"""Who is to be told: the receivers that the policies name, and users' own webhooks.

Secrets are looked up where they are kept at the moment they are needed, and kept nowhere here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from gateway.core.notices import OWN_EVENTS, Webhook
from gateway.core.notify import KeptAt, NoticeEvent, Notify, notice_address
from gateway.core.policy import Rulebook
from gateway.keyring import Keyring
from gateway.ports import Clock, Outbox
from gateway.records import User
from gateway.secret_files import NotKept, kept_secret

OWN = "user:"
"""How the name of a user's own webhook begins."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of Standard Webhooks, no secret


class NoReceiver(Exception):
    """A receiver cannot be told now; the text says why, without its address or secret."""


class HostNotAllowed(Exception):
    """The user's policy does not allow this webhook; `hosts` are those that it allows."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self.hosts = hosts
        super().__init__("the policy does not allow this host")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One place that notices go to, ready to be told."""

    name: str
    url: str = field(repr=False)
    secret: str | None = field(repr=False)
    format: Literal["standard", "slack"] = "standard"
    only_public: bool = False


class Receivers:
    """Everybody who is told of something."""

    def __init__(
        self,
        outbox: Outbox,
        keyring: Keyring,
        clock: Clock,
        rulebook: Callable[[], Rulebook],
        own_secret: Callable[[], bytes],
    ) -> None:
        """`own_secret` is the gateway's, from which users' signing secrets are derived."""
        self._outbox = outbox
        self._keyring = keyring
        self._clock = clock
        self._rulebook = rulebook
        self._own_secret = own_secret
        self._webhooks: dict[str, Webhook] = {}

    async def load(self) -> None:
        """Read the users' webhooks."""
        self._webhooks = {webhook.user: webhook for webhook in await self._outbox.webhooks()}

    def names(self) -> list[str]:
        """Every receiver that the policies name, once."""
        return list(dict.fromkeys(name_of(notify) for notify in self._rulebook().notify))

    def wanted_by(self, event: NoticeEvent, team: str | None, user: str | None) -> list[str]:
        """The names of those who are to be told of an event."""
        told = [name_of(n) for n in self._rulebook().notify if n.wants(event, team)]
        if user in self._webhooks and event in OWN_EVENTS:
            told.append(OWN + user)
        return list(dict.fromkeys(told))

    def find(self, name: str, event: str) -> Receiver:
        """A receiver by its name, as it is to be told of an event; `NoReceiver`."""
        if name.startswith(OWN):
            return self._own(name)
        found = [notify for notify in self._rulebook().notify if name_of(notify) == name]
        if not found:
            raise NoReceiver("the policies do not name it any more")
        notify = next((n for n in found if n.events == "any" or event in n.events), found[0])
        try:
            url = kept_secret(notify.url) if isinstance(notify.url, KeptAt) else notify.url
            secret = None if notify.secret is None else kept_secret(notify.secret)
            return Receiver(name, notice_address(url), secret, notify.format)
        except (NotKept, ValueError) as error:
            raise NoReceiver(str(error)) from error

    def _own(self, name: str) -> Receiver:
        user = self._keyring.user(name.removeprefix(OWN))
        webhook = None if user is None else self._webhooks.get(user.name)
        if user is None or webhook is None:
            raise NoReceiver("the user has no webhook any more")
        if user.disabled_at is not None:
            raise NoReceiver("the user is disabled")
        try:
            self._check(user, webhook.url)
        except HostNotAllowed as error:
            raise NoReceiver("the user's policy does not allow its host any more") from error
        return Receiver(name, webhook.url, self._secret_of(webhook), only_public=True)

    # users' own

    def webhook(self, user: User) -> Webhook | None:
        """A user's webhook, if they have set one."""
        return self._webhooks.get(user.name)

    async def set_webhook(self, user: User, url: str) -> tuple[Webhook, str]:
        """Have a user told at an address; the webhook and its new signing secret.

        `HostNotAllowed` where their policy does not allow it, `ValueError` for no address.
        """
        notice_address(url)
        self._check(user, url)
        webhook = Webhook(user.name, url, secrets.token_hex(16), self._clock.now())
        await self._outbox.set_webhook(webhook)
        self._webhooks[user.name] = webhook
        return webhook, self._secret_of(webhook)

    async def remove_webhook(self, user: User) -> bool:
        """Tell a user nothing any more; whether there was a webhook."""
        was_there = await self._outbox.remove_webhook(user.name)
        self._webhooks.pop(user.name, None)
        return was_there

    def _check(self, user: User, url: str) -> None:
        rulebook = self._rulebook()
        policy = rulebook.policies[rulebook.policy_name_for(user.policy, user.team)]
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname not in policy.webhook_hosts:
            raise HostNotAllowed(policy.webhook_hosts)

    def _secret_of(self, webhook: Webhook) -> str:
        """The same each time, of what the database alone does not have."""
        said = f"webhook\0{webhook.user}\0{webhook.nonce}".encode()
        made = hmac.new(self._own_secret(), said, hashlib.sha256).digest()
        return SECRET_PREFIX + base64.b64encode(made).decode("ascii")


def name_of(notify: Notify) -> str:
    """What a receiver is called: its host and a few digits, for an address may be a secret."""
    if isinstance(notify.url, KeptAt):
        return str(notify.url)
    digits = hashlib.sha256(notify.url.encode()).hexdigest()[:6]
    return f"{urlsplit(notify.url).hostname}-{digits}"


def shown_address(url: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"
