"""Jobs that Venice has, over a real ledger, with a Venice and a store that do as they are told: for
tests of what may go wrong between the three.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from gateway.book import JobBook
from gateway.core.budget import Calendar
from gateway.core.job import Event
from gateway.core.money import Money
from gateway.core.pacing import CallClass
from gateway.core.policy import VideoRules
from gateway.core.retry import Outcome
from gateway.custody import Custody
from gateway.deliver import Deliveries
from gateway.experience import Experience
from gateway.inventory import Inventory
from gateway.metrics import Metrics
from gateway.planning import Planning
from gateway.ports import Ledger, OpenVideo, Reply, StoredVideo, Upstream, VideoReply, VideoStore
from gateway.records import Caller, Job, Key, Order, Reserved, User
from gateway.removal import Removal
from gateway.rhythm import Rhythm
from gateway.room import Room
from gateway.storage.completions import SqliteCompletionTimes
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.video_records import SqliteVideoRecords
from gateway.track import Tracking
from gateway.workers.mender import Mender
from gateway.workers.reaper import Reaper
from gateway.workers.tracker import Tracker
from tests.order_house import WilfulLedger
from tests.upstream.still_clock import StillClock

CALLER = Caller(User("ann"), Key("k1", "ann", "digest"))
LINK = "https://private-share.venice.ai/v/secret"
DAY_MS = 86_400_000
LOOKS_PER_MINUTE = 114
VIDEO_BYTES = 500_000
WORKING = Reply(Outcome.OK, 200, b"", {"status": "PROCESSING"})
COMPLETED = Reply(Outcome.OK, 200, b"", {"status": "COMPLETED", "url": LINK})
DONE = Reply(Outcome.OK, 200, b"", {"success": True})


def failing(status: int | None, outcome: Outcome = Outcome.REFUSED) -> Reply:
    """An answer that is no success."""
    return Reply(outcome, status, b'{"error":"no"}', {"error": "no"})


async def _bytes(*parts: bytes | Exception | asyncio.Event) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        if isinstance(part, asyncio.Event):
            await part.wait()
        else:
            yield part


def video(*parts: bytes | Exception | asyncio.Event) -> VideoReply:
    """A body that brings bytes, waits, and fails, in this order."""
    return VideoReply(_bytes(*(parts or (b"mp4",))), None)


@dataclass
class ToldVenice:
    """Answers each call with what the test says, and counts the answers that are open."""

    retrieves: Callable[[str], Reply | VideoReply] = lambda queue_id: WORKING
    downloads: Callable[[str], Reply | VideoReply] = lambda url: failing(503, Outcome.UNAVAILABLE)
    completes: Callable[[str], Reply] = lambda queue_id: DONE
    revokes: Callable[[str], Reply] = lambda url: DONE
    calls: list[tuple[str, str]] = field(default_factory=list)
    videos_open: int = 0

    @asynccontextmanager
    async def _open(self, answer: Reply | VideoReply) -> AsyncIterator[Reply | VideoReply]:
        is_video = isinstance(answer, VideoReply)
        self.videos_open += is_video
        try:
            yield answer
        finally:
            self.videos_open -= is_video

    @asynccontextmanager
    async def retrieve(
        self, model: str, queue_id: str, user: str, bought_with: str | None = None
    ) -> AsyncIterator[Reply | VideoReply]:
        self.calls.append(("retrieve", queue_id))
        async with self._open(self.retrieves(queue_id)) as answer:
            yield answer

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Reply | VideoReply]:
        self.calls.append(("download", url))
        async with self._open(self.downloads(url)) as answer:
            yield answer

    async def complete(
        self, model: str, queue_id: str, user: str, bought_with: str | None = None
    ) -> Reply:
        self.calls.append(("complete", queue_id))
        return self.completes(queue_id)

    async def revoke(self, url: str) -> Reply:
        self.calls.append(("revoke", url))
        return self.revokes(url)

    def count(self, call: str) -> int:
        """How often a call was made."""
        return sum(name == call for name, _ in self.calls)


class ToldStore:
    """Keeps names and no bytes; fails where the test says so."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.damaged: set[str] = set()
        self.proved: list[str] = []
        self.fault: Exception | None = None
        self.disk_bytes = 2**40

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def fill(
        self, job_id: str, chunks: AsyncIterator[bytes], expected_bytes: int | None
    ) -> StoredVideo:
        async for _ in chunks:
            self._fail()
        self.names.add(job_id)
        self.damaged.discard(job_id)
        return StoredVideo("a" * 64, VIDEO_BYTES)

    async def open(self, job_id: str, expected: StoredVideo) -> OpenVideo | None:
        await asyncio.sleep(0)
        self._fail()
        if job_id not in self.names - self.damaged:
            return None
        return OpenVideo(-1, expected.bytes, expected.sha256, lambda: None)

    async def delete(self, job_id: str) -> None:
        await self.delete_name(job_id)

    async def delete_name(self, name: str) -> None:
        self._fail()
        self.names.discard(name)

    def name_of(self, job_id: str) -> str:
        return job_id

    async def ids(self) -> Collection[str]:
        return list(self.names)

    async def is_intact(self, job_id: str, expected: StoredVideo) -> bool:
        self._fail()
        self.proved.append(job_id)
        return job_id in self.names - self.damaged

    def free_bytes(self) -> int:
        self._fail()
        return self.disk_bytes - VIDEO_BYTES * len(self.names)


@dataclass
class ToldRoom:
    """A gate with as much room as the test says, and lines of whom it names."""

    calls: int = LOOKS_PER_MINUTE
    held: set[str] = field(default_factory=set)

    def room(self, call_class: CallClass) -> int:
        return self.calls

    def waiting(self, call_class: CallClass, user: str | None = None) -> int:
        return len(self.held) if user is None else int(user in self.held)


@dataclass
class VideoHouse:
    """The parts that a test looks at."""

    clock: StillClock
    ledger: WilfulLedger
    real: SqliteLedger
    venice: ToldVenice
    store: ToldStore
    book: JobBook
    deliveries: Deliveries
    removal: Removal
    tracking: Tracking
    tracker: Tracker
    fetches: list[int]
    room: ToldRoom
    experience: Experience
    custody: Custody
    space: Room
    records: SqliteVideoRecords
    inventory: Inventory
    rules: list[VideoRules]
    """The one in force is the first."""
    in_flight: set[str] = field(default_factory=set)
    made: int = 0

    async def reserved(self) -> Job:
        """A job whose money is held."""
        self.made += 1
        order = Order(
            id=f"job{self.made}",
            caller=CALLER,
            model="m",
            body_digest=str(self.made),
            idempotency_key=None,
            quote=Money(60_000),
            limits=(),
            calendar=Calendar(ZoneInfo("UTC")),
        )
        held = await self.real.reserve(order, self.clock.now())
        assert isinstance(held, Reserved)
        return self.book.put(held.job)

    async def working(self, **facts: Any) -> Job:
        """A job that Venice is working on."""
        job = await self.reserved()
        await self.real.advance(job.id, Event.SEND, self.clock.now())
        known = {"queue_id": f"q-{job.id}", "accepted_at": self.clock.now(), **facts}
        return self.book.put(
            await self.real.advance(job.id, Event.ACCEPT, self.clock.now(), facts=known)
        )

    async def stored(self, **facts: Any) -> Job:
        """A job whose video is here."""
        job = await self.working(**facts)
        await self.deliveries.take(job, video())
        return self.now(job)

    def now(self, job: Job) -> Job:
        """The job as it is known now."""
        known = self.book.known(job.id)
        assert known is not None
        return known

    async def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass with the tracker at work."""
        for _ in range(round(seconds / step)):
            await self.clock.advance(step)
            await self.tracker.run_once()
            await self.idle()

    async def idle(self) -> None:
        """Return when nothing writes to the ledger any more."""
        for _ in range(3):
            await self.real.mark("a read between two writes")
            await self.real.set_mark("a write behind all others", None)
            await asyncio.sleep(0)

    def mender(self) -> Mender:
        """A mender of this house."""
        return Mender(
            cast(Ledger, self.ledger),
            self.book,
            self.clock,
            lambda: self.in_flight,
            self.tracker.is_looking,
        )

    def reaper(self, rules: Any) -> Reaper:
        """A reaper of this house."""
        ledger = cast(Ledger, self.ledger)
        return Reaper(ledger, self.removal, self.inventory, self.clock, lambda: rules)


@asynccontextmanager
async def video_house(folder: Path) -> AsyncIterator[VideoHouse]:
    """A house with one user and two fetch places."""
    clock = StillClock()
    real = await SqliteLedger.open(folder / "gateway.db", upstream="test", now=clock.now())
    await real.add_user(CALLER.user)
    await real.add_key(CALLER.key)
    wilful, venice, store, metrics = WilfulLedger(real), ToldVenice(), ToldStore(), Metrics()
    ledger, book, fetches = cast(Ledger, wilful), JobBook(wilful.job), [2]
    room = ToldRoom()
    shared: dict[str, Any] = {
        "ledger": ledger,
        "upstream": cast(Upstream, venice),
        "clock": clock,
        "book": book,
        "metrics": metrics,
    }
    kept = cast(VideoStore, store)
    custody = Custody(**shared, store=kept)
    records, rules = SqliteVideoRecords(real.access), [VideoRules()]
    space = Room(custody, records, lambda: rules[0])
    deliveries = Deliveries(custody, space, lambda: fetches[0])
    tracking = Tracking(**shared, deliveries=deliveries)
    experience = Experience(SqliteCompletionTimes(real.access), clock)
    planning = Planning(experience, lambda: LOOKS_PER_MINUTE)
    tracker = Tracker(
        tracking,
        clock,
        experience=experience,
        planning=planning,
        gate=room,
        rhythm=Rhythm(clock.monotonic),
    )
    book.listen(tracker.follow)
    removal = Removal(custody)
    inventory = Inventory(ledger, kept, book)
    try:
        yield VideoHouse(
            clock,
            wilful,
            real,
            venice,
            store,
            book,
            deliveries,
            removal,
            tracking,
            tracker,
            fetches,
            room,
            experience,
            custody,
            space,
            records,
            inventory,
            rules,
        )
    finally:
        await tracker.close()
        await real.close()
