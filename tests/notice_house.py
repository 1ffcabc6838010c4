"""Notices over a real ledger and real listeners, with a clock that tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.job import Event
from gateway.core.notices import Delivery
from gateway.core.policy import Rulebook
from gateway.keyring import Keyring
from gateway.noticing import Condition, Noticing
from gateway.ports import Told
from gateway.receivers import Receivers
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.outbox import SqliteOutbox
from gateway.telling import Telling
from gateway.workers.notifier import Notifier
from tests.storage.test_ledger import ANNA, BERTA, an_order
from tests.upstream.still_clock import StillClock

SECRET = "whsec_c29tZXRoaW5nIHRoYXQgbm9ib2R5IGtub3dz"


@dataclass
class ToldMessenger:
    """Takes what it is given, unless told to fail for an address."""

    answers: dict[str, Told] = field(default_factory=dict)
    sent: list[tuple[str, bytes, Mapping[str, str], bool]] = field(default_factory=list)

    async def send(
        self, url: str, body: bytes, headers: Mapping[str, str], *, only_public: bool
    ) -> Told:
        self.sent.append((url, body, headers, only_public))
        return self.answers.get(url, Told(204))

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class NoticeHouse:
    """The parts that a test looks at."""

    ledger: SqliteLedger
    outbox: SqliteOutbox
    receivers: Receivers
    keyring: Keyring
    rules: list[Rulebook]
    """The one in force is the first."""
    clock: StillClock
    messenger: Any
    conditions: Sequence[Condition]
    noticing: Noticing = field(init=False)
    telling: Telling = field(init=False)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin as after a restart: nothing is remembered but what the database has."""
        self.noticing = Noticing(self.ledger, self.outbox, self.receivers, self.clock)
        self.noticing.watch(*self.conditions)
        self.telling = Telling(self.outbox, self.messenger, self.receivers, self.clock)
        self.notifier = Notifier(self.noticing, self.telling, self.outbox, self.clock)

    async def round(self) -> None:
        """One round of the chore, to its end."""
        await self.notifier.run_once()
        await self.telling.settled()

    async def pass_time(self, seconds: float, step: float = 10.0) -> None:
        """Rounds, some time apart."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            await self.clock.advance(step)
            await self.round()

    async def job(self, number: int, *events: Event, caller: Any = ANNA) -> str:
        """A job that was sent, and what happened to it since."""
        await self.ledger.reserve(an_order(number, caller), self.clock.now())
        for event in (Event.SEND, *events):
            facts = {"queue_id": f"q{number}"} if event is Event.ACCEPT else {}
            await self.ledger.advance(f"job{number}", event, self.clock.now(), facts=facts)
        return f"job{number}"

    async def deliveries(self) -> list[Delivery]:
        """All of them, in order."""
        return (await self.outbox.deliveries(limit=1_000))[::-1]

    async def events(self) -> list[tuple[str, str]]:
        """What was kept, of what."""
        return [(d.notice.event, d.notice.subject) for d in await self.deliveries()]


def rulebook_of(notify: Sequence[Mapping[str, Any]], hosts: Sequence[str] = ()) -> Rulebook:
    """Policies that tell these receivers, and allow these hosts for users' own webhooks."""
    policies = {"default": {"webhook_hosts": list(hosts)}}
    document = {"version": 1, "notify": notify, "teams": {"film": {}}, "policies": policies}
    return Rulebook.model_validate(document)


@asynccontextmanager
async def notice_house(
    folder: Path,
    notify: Sequence[Mapping[str, Any]],
    *,
    messenger: Any = None,
    hosts: Sequence[str] = (),
    conditions: Sequence[Condition] = (),
    clock: StillClock | None = None,
) -> AsyncIterator[NoticeHouse]:
    """A house with anna of the team film and berta of none; `notify` as in the policies."""
    clock = clock or StillClock()
    ledger = await SqliteLedger.open(folder / "gateway.db", upstream="test", now=clock.now())
    for caller in (ANNA, BERTA):
        await ledger.add_user(caller.user)
        await ledger.add_key(caller.key)
    keyring = Keyring(ledger, clock)
    await keyring.load()
    rules = [rulebook_of(notify, hosts)]
    outbox = SqliteOutbox(ledger.access)
    receivers = Receivers(outbox, keyring, clock, lambda: rules[0], lambda: b"0" * 32)
    house = NoticeHouse(
        ledger, outbox, receivers, keyring, rules, clock, messenger or ToldMessenger(), conditions
    )
    await house.noticing.begin()
    try:
        yield house
    finally:
        await house.telling.close()
        await ledger.close()
