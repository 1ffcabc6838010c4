"""The seams: what the verbs need from a clock, a ledger, a video store and Venice.

One ledger method is one transaction. Times are Unix milliseconds (`at`), deadlines and waits
monotonic seconds. Implementations live in `storage/` and `upstream/`; `app/` picks them.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Protocol

from gateway.core.budget import Calendar, Limit, Standing
from gateway.core.charges import BilledJob
from gateway.core.completion import Kind, Sketch
from gateway.core.eviction import Held
from gateway.core.job import Entry, Event, State
from gateway.core.money import Money
from gateway.core.notices import Attempt, Delivery, Notice, Telling, Webhook
from gateway.core.notify import NoticeEvent
from gateway.core.retention import KeepRules
from gateway.core.retry import Endpoint, Outcome
from gateway.records import (
    Acts,
    AdminKey,
    Adoption,
    AuditRow,
    EntryRow,
    Grant,
    Job,
    Key,
    Order,
    Overrun,
    Reconciliation,
    RecordedCall,
    Refusal,
    Reserved,
    Spend,
    Totals,
    User,
    Verification,
    VideoTotals,
)


class Clock(Protocol):
    """Time and chance, passed in so that tests can hold them still."""

    def now(self) -> int:
        """Unix milliseconds."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin that never go back."""

    def random(self) -> float:
        """A number in [0, 1)."""

    async def sleep(self, seconds: float) -> None:
        """Wait so many monotonic seconds."""


class DatabaseRefused(Exception):
    """The database is not one this program may work on; the text says why."""


class DatabaseLocked(DatabaseRefused):
    """Another process works on this database; `owner` is what it says of itself, if anything."""

    def __init__(self, path: Path, owner: str) -> None:
        self.owner = owner
        super().__init__(f"another process ({owner or 'unknown'}) works on {path}")


class LedgerFailure(Exception):
    """The ledger could not write: the transaction did not happen."""


class LedgerFull(LedgerFailure):
    """It could not write because the disk is full."""


class LedgerBroken(LedgerFailure):
    """One of the ledger's own assertions tripped: spending must stop."""


class Unrepairable(Exception):
    """Jobs and entries disagree, so nothing can be derived from them; the text says where."""


class AlreadyThere(Exception):
    """A name, id or idempotency key is taken; the text says which."""


class Unknown(Exception):
    """No such user, key or job; the text says which."""


class Ledger(Protocol):
    """Money, jobs and people, durably."""

    # people
    async def add_user(self, user: User) -> None: ...
    async def change_user(self, name: str, changes: Mapping[str, Any]) -> User: ...
    async def users(self) -> list[User]: ...
    async def add_key(self, key: Key) -> None: ...
    async def change_key(self, key_id: str, changes: Mapping[str, Any]) -> Key: ...
    async def keys(self) -> list[Key]: ...
    async def add_grant(self, grant: Grant) -> None: ...
    async def revoke_grant(self, grant_id: str, at: int) -> Grant:
        """End a grant now; `Unknown` where there is none that could still end."""

    async def grants(self) -> list[Grant]: ...
    async def admin_keys(self) -> list[AdminKey]: ...
    async def add_admin_key(self, key: AdminKey) -> None: ...
    async def revoke_admin_key(self, name: str, at: int) -> AdminKey:
        """End an administrator's key; `Unknown` where there is none of that name that opens."""

    # money
    async def reserve(self, order: Order, at: int) -> Reserved | Overrun:
        """Hold the quote in every window at once, or in none. `AlreadyThere` for a taken
        idempotency key."""

    async def advance(
        self,
        job_id: str,
        event: Event,
        at: int,
        *,
        facts: Mapping[str, Any] | None = None,
        reason: str | None = None,
        actor: str | None = None,
        settle_as: Money | None = None,
        seen: State | None = None,
    ) -> Job:
        """Move a job by one event, and its money with it, in one transaction.

        `facts` are job fields learned with the event; `settle_as` is what it really cost where
        that differs from the quote; `seen` is the state it was judged by. Raises `IllegalEvent`
        and writes nothing where the event is not in the table, or the job is not as it was seen.
        """

    async def adopt(self, adoption: Adoption, at: int, actor: str) -> Job:
        """Take over a job that was bought elsewhere: in the making, its price spent already.

        No limit is asked, for nothing is bought by it. `AlreadyThere` for a known queue_id.
        """

    async def correct(
        self, job_id: str, cost: Money, at: int, *, reason: str, actor: str, seen: State
    ) -> Job:
        """Make the settlement of an ended job what it really did cost, by a new entry that names
        the last one; nothing is written where it is that already. `IllegalEvent` where the job's
        money is not settled, or the job is not as it was seen."""

    async def note(self, job_id: str, facts: Mapping[str, Any]) -> Job:
        """Record facts about a job that move neither its state nor its money."""

    async def standings(
        self, limits: Sequence[Limit], calendar: Calendar, at: int, *, keep: bool = False
    ) -> list[Standing]:
        """How limits stand now; writes nothing, unless it is to `keep` what it had to add up.

        Who asks again and again keeps: a window without orders has no balance yet, and is added up
        anew by each question, from every job that it spans.
        """

    async def spend(
        self,
        by: str,
        since: int | None,
        until: int | None,
        user: str | None = None,
        *,
        timezone: tzinfo = UTC,
    ) -> list[Spend]:
        """Who spent what, the largest first; of one user only, if named. Days are in order, and
        those of the time zone."""

    async def totals(self) -> Totals:
        """The sums that metrics show, all of one moment."""

    async def verify(self) -> Verification: ...
    async def repair(self) -> int:
        """Derive balances and tallies anew from the jobs; how many balances were other than that.

        `Unrepairable`, and nothing is changed, where jobs and entries disagree.
        """

    async def entry_count(self) -> int:
        """How many entries there are: the measure of what `verify` costs."""

    def entries(
        self,
        after: int = 0,
        *,
        job: str | None = None,
        kind: Entry | None = None,
        at_once: int = 1_000,
    ) -> AsyncIterator[EntryRow]:
        """Every entry with a greater id, or those of a job or a kind, oldest first; so many are
        read at once."""

    async def entries_of(self, job_id: str) -> list[EntryRow]: ...

    # jobs
    async def job(self, id_or_queue_id: str) -> Job | None: ...
    async def jobs(
        self,
        *,
        states: Iterable[State] = (),
        user: str | None = None,
        team: str | None = None,
        model: str | None = None,
        key: str | None = None,
        since: int | None = None,
        until: int | None = None,
        delivered: bool | None = None,
        suspicious: bool | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Newest first; `before` is the id of the last one of the page before.

        `key` is the id that jobs count under; `since` is in, `until` is out, of when they were
        ordered; `delivered` is whether anybody ever got the video.
        """

    async def twins(self, key_id: str, body_digest: str, since: int, known_since: int) -> list[Job]:
        """Jobs of an identical request whose answer is still owed, newest first: those ordered
        since a moment, those in doubt, and those that evidence has known since another."""

    async def idempotent(self, user: str, idempotency_key: str, since: int) -> Job | None:
        """The job that a key is bound to: ordered since, in doubt, or known by evidence since."""

    async def purgeable(self, rules: KeepRules, now: int) -> list[Job]:
        """Jobs whose video's time has come by `core.retention`, some at a time."""

    async def stored_ids(self) -> list[str]:
        """The ids of all jobs whose video is stored."""

    async def video_totals(self) -> VideoTotals:
        """How many videos are stored, and how many of them nobody has yet."""

    async def copies(self, resting: Collection[str] = ()) -> list[Job]:
        """Jobs whose copy at Venice is needed no more and not gone yet, some at a time, but for
        those that are to rest."""

    # the rest
    async def record_call(self, call: RecordedCall) -> None: ...
    async def recorded_calls(self, since: int) -> list[RecordedCall]: ...
    async def refuse(
        self,
        *,
        at: int,
        user: str,
        key_id: str,
        code: str,
        rule: str,
        model: str,
        amount: Money | None,
    ) -> None:
        """Keep a refusal, so that people can see what was refused and why.

        As well as it can: one that cannot be kept is logged, for it is told its client all the
        same. Old ones go, and of each user all but the latest.
        """

    async def refusals(self, user: str, before: int | None, limit: int) -> list[Refusal]:
        """A user's refusals, newest first; `before` is the number of the last one seen."""

    async def audit(self, *, at: int, actor: str, act: str, target: str, detail: str) -> None: ...
    async def audits(self, which: Acts, before: int | None, limit: int) -> list[AuditRow]:
        """What was audited, newest first; `before` is the number of the last one seen."""

    async def mark(self, name: str) -> str | None:
        """What is remembered of the database itself under a name."""

    async def set_mark(self, name: str, value: str | None) -> None:
        """Remember a text under a name, or forget it."""

    async def close(self) -> None: ...


class Notices(Protocol):
    """Where whoever has news hands it in; being told costs the teller nothing and cannot fail."""

    def post(
        self,
        event: NoticeEvent,
        key: str,
        subject: str,
        *,
        team: str | None = None,
        user: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell whoever wants to know; what has the same `key` is told once."""

    async def kept(self) -> None:
        """Return when everything handed in is durable: no crash loses it from now on."""


class Outbox(Protocol):
    """Notices, the receivers they go to, and what came of each try, durably."""

    async def post(
        self, posted: Sequence[tuple[Notice, Sequence[str]]], marks: Mapping[str, str | None]
    ) -> None:
        """Keep notices with a delivery to each receiver, and the ledger's marks with them, in one
        transaction. A notice whose key is known, or that nobody wants, leaves nothing."""

    async def due(self, at: int, resting: Collection[str], limit: int) -> list[Delivery]:
        """What is to be tried by then, the longest due first, but for receivers that rest."""

    async def tried(self, delivery: Delivery, attempt: Attempt, next_at: int | None) -> None:
        """Record a try; None for the next ends it, as delivered where the try arrived."""

    async def deliveries(
        self,
        *,
        event: str | None = None,
        receiver: str | None = None,
        state: Telling | None = None,
        notice: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """Newest first; `before` is the number of the last one of the page before."""

    async def attempts(self, delivery: int) -> list[Attempt]:
        """The tries of one delivery, oldest first."""

    async def redeliver(self, notice_id: str, receiver: str | None, at: int) -> int:
        """Begin anew with telling a notice, to one receiver or to all it went to; how many."""

    async def forget(self, before: int) -> None:
        """Let go of notices that are older, and of all about them, some at a time."""

    async def ended_jobs(self, at: int, number: int, limit: int) -> list[tuple[int, Job]]:
        """Jobs that ended then or later, but at that very moment only those with a greater
        number, in order, with their numbers."""

    async def doubted_jobs(self, after: int, limit: int) -> tuple[list[tuple[int, Job]], int]:
        """Jobs that came to be in doubt by an entry with a greater id, in order, with that id;
        and the id of the last entry that was looked at."""

    async def webhooks(self) -> list[Webhook]: ...
    async def set_webhook(self, webhook: Webhook) -> None: ...
    async def remove_webhook(self, user: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver answered, or why it did not."""

    status: int | None
    why: str | None = None
    stated_wait_ms: int = 0


class Messenger(Protocol):
    """Takes one notice to one address: no redirects, bounded in time."""

    async def send(
        self, url: str, body: bytes, headers: Mapping[str, str], *, only_public: bool
    ) -> Told:
        """`only_public` for addresses that users chose: those lead to the public internet only."""

    async def close(self) -> None: ...


class CompletionTimes(Protocol):
    """What was learned of how long videos take, durably."""

    async def read(self) -> list[tuple[Kind, Sketch, int | None]]:
        """Every kind, with the average that Venice last published for it in milliseconds."""

    async def keep(self, kind: Kind, sketch: Sketch, average_ms: int | None, at: int) -> None:
        """Put this in place of what was kept of a kind."""


class Reconciliations(Protocol):
    """What was compared with Venice's bill, and the jobs to compare it with."""

    async def sent(self, since: int) -> list[BilledJob]:
        """The jobs that were sent from a moment on, those on their way included."""

    async def known(self, queue_ids: Collection[str]) -> set[str]:
        """Which of these are queue_ids of jobs of ours, of whatever age."""

    async def sent_before(self, at: int) -> int | None:
        """When the last job before a moment was sent; None where there is none."""

    async def first_sent(self) -> int | None:
        """When the oldest job was sent; None where there is none."""

    async def oldest_doubt(self) -> int | None:
        """When the oldest job in doubt was sent; None where none is."""

    async def models(self) -> set[str]:
        """The models of all jobs."""

    async def keep(self, run: Reconciliation) -> Reconciliation:
        """Keep a comparison; it comes back with its number."""

    async def page(self, before: int | None, limit: int) -> list[Reconciliation]:
        """Newest first; `before` is the number of the last one seen."""

    async def find(self, number: int) -> Reconciliation | None: ...
    async def last_whole(self) -> Reconciliation | None:
        """The newest one since which nothing was left out."""


class VideoStore(Protocol):
    """Whole videos by job id. A video is either wholly here or not at all."""

    async def fill(
        self, job_id: str, chunks: AsyncIterator[bytes], expected_bytes: int | None
    ) -> StoredVideo:
        """Take a body to its end, check it, and keep it; `core.mp4.BrokenVideo` where it is not
        a whole mp4, `StoreFailure` where the fault is ours."""

    async def open(self, job_id: str, expected: StoredVideo) -> OpenVideo | None:
        """The stored bytes; None where they are missing or are not those recorded."""

    async def is_intact(self, job_id: str, expected: StoredVideo) -> bool:
        """Whether the stored bytes, hashed anew, are those recorded."""

    async def delete(self, job_id: str) -> None:
        """Remove a video; a read in progress still ends well."""

    async def delete_name(self, name: str) -> None:
        """Remove what `ids` gave a name of, and no job is known for."""

    def name_of(self, job_id: str) -> str:
        """The name by which `ids` tells of a job's video."""

    async def ids(self) -> list[str]:
        """File names found, to be compared with the ledger."""

    def free_bytes(self) -> int: ...


class VideoRecords(Protocol):
    """What is kept of stored videos beside their jobs: when each was last used and last proved,
    and whether its end was told of. A lost minute of it costs little."""

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Videos were last read at these moments."""

    async def note_proved(self, job_id: str, at: int) -> None:
        """A video was read and is what it was."""

    async def note_told(self, job_ids: Collection[str], at: int) -> None:
        """That these videos will be purged has been told."""

    async def stored(self, among: Collection[str] = ()) -> tuple[int, frozenset[str]]:
        """The bytes that all stored videos take together, and which of some jobs have theirs
        stored: of one moment."""

    async def evictable(self, limit: int) -> list[Held]:
        """Stored videos in the order of `core.eviction.rank`, so many at most."""

    async def longest_unproved(self) -> tuple[str, int] | None:
        """The stored video that was proved, or stored, longest ago, and when."""

    async def expiring(
        self, stored_before: int, *, user: str | None = None, untold: bool = False, limit: int
    ) -> list[Job]:
        """Undelivered videos stored before a moment, oldest first; `untold` ones only."""

    async def count_expiring(self, stored_before: int) -> int:
        """How many undelivered videos were stored before a moment."""

    async def prune(self) -> None:
        """Forget videos that are stored no more."""


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """What is recorded of a stored video."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """A video ready to be read. `close` it."""

    descriptor: int
    bytes: int
    sha256: str
    close: Callable[[], None]


class StoreFailure(Exception):
    """Our own disk or store failed; the video at Venice is untouched."""


class StoreFull(StoreFailure):
    """There is no room."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one upstream request, retries included."""

    outcome: Outcome
    status: int | None = None
    body: bytes = b""
    document: Any = None
    """The body as strict JSON, where it is that."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Lower-case names; only those the gateway has a use for."""
    stated_wait: float | None = None
    """Seconds that Venice asked to wait, clamped."""

    @property
    def is_ok(self) -> bool:
        """Venice did what it was asked."""
        return self.outcome is Outcome.OK


@dataclass(frozen=True, slots=True)
class VideoReply:
    """A retrieve or download that is being answered with a video."""

    chunks: AsyncIterator[bytes]
    """Raises `BodyCut` where the connection ends before the body does."""
    expected_bytes: int | None


class BodyCut(Exception):
    """A body ended before it was whole, stalled, or grew past its limit."""


class BodyLost(BodyCut):
    """The network between Venice and us failed, which says nothing of the body."""


class NoPlace(Exception):
    """The gate had no place in time, or the breaker is open; nothing was sent."""


class ModelClosed(Exception):
    """Venice refused the organization's key for this model a moment ago, so it is not asked again
    yet; nothing was sent."""


class LinkRefused(Exception):
    """Venice's link leads where the gateway may not connect; nothing was sent. The text says why,
    without the link: that is a secret."""


class Upstream(Protocol):
    """Venice, through the gate and the retry table. Deadlines are monotonic seconds.

    Every call may raise `NoPlace`, and `core.errors.Draining` once the gate is closed; those about
    a model that is to be bought also `ModelClosed`; all only where nothing was sent.
    """

    def user_wait(self, user: str) -> float:
        """Seconds until a user who was refused too often may order again; else 0."""

    async def quote(self, body: Mapping[str, Any], user: str, deadline: float) -> Reply: ...

    async def queue(
        self,
        body: Mapping[str, Any],
        user: str,
        deadline: float,
        before_sending: Callable[[], Awaitable[None]],
    ) -> Reply:
        """Order a video. `before_sending` is awaited once, after the gate has opened and before
        the first byte leaves. `NoPlace` where the gate did not open in time."""

    def retrieve(
        self, model: str, queue_id: str, user: str, bought_with: str | None = None
    ) -> AbstractAsyncContextManager[Reply | VideoReply]:
        """Ask for a job. A `VideoReply` must be read inside the context.

        `bought_with` is the fingerprint of the organization's key that bought it.
        """

    def download(self, url: str) -> AbstractAsyncContextManager[Reply | VideoReply]:
        """Follow Venice's link to a private video; `LinkRefused` where we may not connect."""

    async def complete(
        self, model: str, queue_id: str, user: str, bought_with: str | None = None
    ) -> Reply: ...
    async def revoke(self, url: str) -> Reply:
        """Delete what a private link points to; `LinkRefused` as for `download`."""

    async def get(self, endpoint: Endpoint, deadline: float) -> Reply:
        """Ask a free question: models, balance, rate limits."""

    async def usage(self, query: Mapping[str, str], deadline: float) -> Reply:
        """Ask for a page of the account's bill, with the billing key."""


class Span(Protocol):
    """One stretch of work in a trace."""

    def note(self, name: str, value: str | int) -> None:
        """Record a fact; never a secret, a prompt, or a path as it was asked for."""

    def rename(self, name: str) -> None:
        """Call it by what it turned out to be."""

    def fail(self, why: str) -> None:
        """It did not do what it was for."""


class Traces(Protocol):
    """Where the time of a request goes, told to whoever collects traces."""

    def door(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A request has come in; a client's own trace in `headers` goes on in ours."""

    def attempt(
        self, endpoint: Endpoint, headers: MutableMapping[str, str] | None
    ) -> AbstractContextManager[Span]:
        """A call goes out; the trace goes with it in `headers`, or stays here where it is None."""
