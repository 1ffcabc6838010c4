"""Takes notices from the outbox to their receivers, each on its own, and records every try.

A receiver that fails rests before it is tried with the next notice, so that one which is down costs
little; the others wait for nobody.
"""

from __future__ import annotations

import asyncio
from binascii import Error as NotBase64
from datetime import UTC, datetime

import structlog
from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signer

from gateway.core.notices import Attempt, Delivery, next_try, slack_body, standard_body
from gateway.moments import rfc3339
from gateway.ports import Clock, LedgerFailure, Messenger, Outbox, Told
from gateway.receivers import NoReceiver, Receiver, Receivers

DUE_MAX = 100
"""Deliveries begun in one round."""
RECEIVERS_AT_ONCE_MAX = 16
REST_SECONDS = 1.0
REST_SECONDS_MAX = 60.0
"""Between two notices to a receiver that fails: doubled with each failure in a row."""
_log = structlog.get_logger(__name__)


class Telling:
    """The way out of the outbox."""

    def __init__(
        self, outbox: Outbox, messenger: Messenger, receivers: Receivers, clock: Clock
    ) -> None:
        self._outbox = outbox
        self._messenger = messenger
        self._receivers = receivers
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}

    async def run_once(self) -> None:
        """Begin with all that is due, of receivers that neither are being told nor rest."""
        now = self._clock.monotonic()
        self._rests_until = {n: until for n, until in self._rests_until.items() if until > now}
        resting = {*self._under_way, *self._rests_until}
        by_receiver: dict[str, list[Delivery]] = {}
        for delivery in await self._outbox.due(self._clock.now(), resting, DUE_MAX):
            by_receiver.setdefault(delivery.receiver, []).append(delivery)
        for receiver, deliveries in by_receiver.items():
            if len(self._under_way) < RECEIVERS_AT_ONCE_MAX:
                self._under_way[receiver] = asyncio.create_task(self._tell(receiver, deliveries))

    async def settled(self) -> None:
        """Return when nothing is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def close(self) -> None:
        """Stop; what was under way is tried again at the next start, with the same id."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, receiver: str, deliveries: list[Delivery]) -> None:
        """One receiver's notices, one after the other, up to the first that fails."""
        try:
            for delivery in deliveries:
                attempt = await self._try(delivery)
                await self._record(delivery, attempt)
                if not attempt.arrived:
                    self._rest(receiver)
                    return
                self._failures.pop(receiver, None)
        except LedgerFailure as error:
            _log.error("notice.not_recorded", receiver=receiver, why=str(error))
            self._rest(receiver)
        except Exception:  # noqa: BLE001 - the other receivers are still to be told
            _log.exception("notice.failed", receiver=receiver)
            self._rest(receiver)
        finally:
            del self._under_way[receiver]

    async def _try(self, delivery: Delivery) -> Attempt:
        at, began = self._clock.now(), self._clock.monotonic()
        try:
            receiver = self._receivers.find(delivery.receiver, delivery.notice.event)
            body, headers = signed(receiver, delivery, at)
            told = await self._messenger.send(
                receiver.url, body, headers, only_public=receiver.only_public
            )
        except NoReceiver as error:
            told = Told(None, f"not sent: {error}")
        took = round((self._clock.monotonic() - began) * 1000)
        return Attempt(at, took, told.status, told.why, told.stated_wait_ms)

    async def _record(self, delivery: Delivery, attempt: Attempt) -> None:
        made, since = delivery.attempts + 1, delivery.since
        next_at = None
        if not attempt.arrived:
            next_at = next_try(made, since, attempt, self._clock.random())
        await self._outbox.tried(delivery, attempt, next_at)
        if attempt.arrived:
            return
        log = _log.info if next_at is not None else _log.warning
        log(
            "notice.put_off" if next_at is not None else "notice.given_up",
            notice=delivery.notice.id,
            about=delivery.notice.event,
            receiver=delivery.receiver,
            tries=made,
            why=attempt.why,
        )

    def _rest(self, receiver: str) -> None:
        failures = self._failures.get(receiver, 0)
        self._failures[receiver] = failures + 1
        pause = min(REST_SECONDS_MAX, REST_SECONDS * 2 ** min(failures, 10))
        self._rests_until[receiver] = self._clock.monotonic() + pause


def signed(receiver: Receiver, delivery: Delivery, at: int) -> tuple[bytes, dict[str, str]]:
    """The body for a receiver, and the headers of Standard Webhooks that vouch for it.

    `NoReceiver` where its secret cannot sign.
    """
    notice = delivery.notice
    if receiver.format == "slack":
        body = slack_body(notice)
    else:
        body = standard_body(notice, rfc3339(notice.at))
    sent_at = datetime.fromtimestamp(at // 1000, UTC)
    headers = {"webhook-id": notice.id, "webhook-timestamp": str(int(sent_at.timestamp()))}
    if receiver.secret is not None:
        try:
            signer = Signer(receiver.secret)
        except (NotBase64, ValueError, EmptyWebhookSecretError) as error:
            raise NoReceiver("its signing secret is no base64 text (whsec_…)") from error
        headers["webhook-signature"] = signer.sign(notice.id, sent_at, body.decode("ascii"))
    return body, headers
