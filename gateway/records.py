"""What the ledger keeps, as values: people and keys, jobs and orders, sums and rows.

They carry what is recorded and decide nothing; times are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from gateway.core.budget import Calendar, Limit, Passed, Scope, Standing
from gateway.core.job import Entry, Holding, State
from gateway.core.money import ZERO, Money
from gateway.core.pacing import CallClass

SPENDING_WAITS = "spending_waits"
"""The ledger's mark that says why nothing may be spent until an administrator has looked."""
RESTORED = "restored "
"""How that mark begins in a database that was put back from a backup; the time follows."""
RUNNING = "running"
"""The ledger's mark while a gateway runs: found at a start, the last stop was no clean one."""


@dataclass(frozen=True, slots=True)
class User:
    """A person or a service that holds keys."""

    name: str
    team: str | None = None
    policy: str | None = None
    email: str | None = None
    disabled_at: int | None = None
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A gateway key, without its secret."""

    id: str
    user: str
    digest: str = field(repr=False)
    name: str | None = None
    budget: tuple[str, Money] | None = None
    """Window and amount of the key's own budget."""
    models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    delivery: str = "auto"
    is_service: bool = False
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    origin: str | None = None
    """The first key of its rotations; None where it is that itself."""

    @property
    def counts_as(self) -> str:
        """The id under which jobs, windows and grants know this key, through all rotations."""
        return self.origin or self.id

    @property
    def label(self) -> str:
        """What people call it: its name, else its id."""
        return self.name or self.id


class Role(StrEnum):
    """What an administrator's key may do."""

    VIEWER = "viewer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class AdminKey:
    """An administrator's key, without its secret. A viewer reads and changes nothing."""

    id: str
    name: str
    role: str
    digest: str = field(repr=False)
    created_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a good key and its user."""

    user: User
    key: Key


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands: its order, its money, and what is known of its video."""

    id: str
    user: str
    key_id: str
    model: str
    state: State
    holding: Holding
    created_at: int
    """The moment of reservation, by which it belongs to its windows."""
    team: str | None = None
    queue_id: str | None = None
    body_digest: str = ""
    idempotency_key: str | None = None
    answer: str | None = None
    """Venice's answer to the queue request, as JSON text, without any download link."""
    answer_owed: bool = True
    """The answer was not delivered yet, so a twin may still claim it."""
    download_url: str | None = field(default=None, repr=False)
    """Venice's bearer link of a private job; kept only while the job is open."""
    is_private: bool = False
    quote: Money = ZERO
    reserved: Money = ZERO
    in_doubt: Money = ZERO
    settled: Money = ZERO
    remaining: Money | None = None
    """What the tightest window had left after the reservation."""
    tags: tuple[str, ...] = ()
    policy: str = "default"
    policy_version: str = ""
    seconds: int | None = None
    resolution: str | None = None
    upstream_key: str | None = None
    """Fingerprint of the organization's key that bought it."""
    reason: str | None = None
    sent_at: int | None = None
    doubted_at: int | None = None
    """When it came in doubt, last; it stays when the doubt has ended."""
    accepted_at: int | None = None
    ready_at: int | None = None
    ended_at: int | None = None
    average_ms: int | None = None
    looks: int = 0
    bad_bodies: int = 0
    """Answers with a body that brought no whole video, and those let go of unread."""
    not_found_first_at: int | None = None
    not_found_count: int = 0
    failure_status: int | None = None
    failure_body: str | None = None
    completed_at: int | None = None
    delete_wanted: bool = False
    delivered_at: int | None = None
    is_suspicious: bool = False
    copy_gone: bool = False
    """Venice's copy is deleted, or never was."""
    video_sha256: str | None = None
    video_bytes: int | None = None
    stored_at: int | None = None

    @property
    def is_final_failure(self) -> bool:
        """Venice said that this job failed; its answer is kept and given again each time."""
        return self.state in (State.FAILED_BILLED, State.FAILED_REFUNDED)


@dataclass(frozen=True, slots=True)
class Order:
    """A priced order, ready to be reserved."""

    id: str
    caller: Caller
    model: str
    body_digest: str
    idempotency_key: str | None
    quote: Money
    limits: Sequence[Limit]
    calendar: Calendar
    tags: tuple[str, ...] = ()
    policy: str = "default"
    policy_version: str = ""
    seconds: int | None = None
    resolution: str | None = None
    upstream_key: str | None = None
    remark: str | None = None
    """What is to be kept beside the reservation: why its price is another than before."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A job that was bought elsewhere and is to be finished here."""

    id: str
    queue_id: str
    caller: Caller
    model: str
    price: Money
    """What it cost, as far as anybody knows: it is spent already."""
    created_at: int
    """When it was bought; its amount belongs to the windows of that moment."""
    tags: tuple[str, ...] = ()
    policy: str = "default"
    policy_version: str = ""
    seconds: int | None = None
    resolution: str | None = None
    download_url: str | None = field(default=None, repr=False)
    """Venice's bearer link, where its answer brought one."""


@dataclass(frozen=True)
class Reserved:
    """The money is held."""

    order: Order
    at: int
    """The moment of reservation."""
    remaining: Money | None = None
    """What the tightest window has left; None where no limit applies."""
    observed: Sequence[Standing] = ()
    """Windows that were overrun but are only observed."""
    passed: Sequence[Passed] = ()
    """Shares of windows that this reservation lifted them to."""

    @cached_property
    def job(self) -> Job:
        """The order as a job; made when it is first asked for, by whoever asks: the thread that
        reserves is the one that all wait for."""
        order = self.order
        return Job(
            id=order.id,
            user=order.caller.user.name,
            key_id=order.caller.key.counts_as,
            team=order.caller.user.team,
            model=order.model,
            state=State.RESERVED,
            holding=Holding.RESERVED,
            created_at=self.at,
            body_digest=order.body_digest,
            idempotency_key=order.idempotency_key,
            quote=order.quote,
            reserved=order.quote,
            remaining=self.remaining,
            tags=order.tags,
            policy=order.policy,
            policy_version=order.policy_version,
            seconds=order.seconds,
            resolution=order.resolution,
            upstream_key=order.upstream_key,
        )


@dataclass(frozen=True, slots=True)
class Overrun:
    """The order does not fit; nothing was written but the refusal."""

    standing: Standing


@dataclass(frozen=True, slots=True)
class Spend:
    """One row of who spent what; `name` is the user, team, key, model, tag or day."""

    name: str
    settled: Money
    reserved: Money
    in_doubt: Money
    jobs: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A limit raised by an amount, in one window of one scope, until a moment (exclusive)."""

    id: str
    scope: Scope
    scope_id: str
    window: str
    """A window's name, or `all` for each of them."""
    amount: Money
    until: int
    why: str
    actor: str
    created_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order that a rule or a budget refused; nothing was bought."""

    number: int
    at: int
    code: str
    rule: str
    model: str
    amount: Money | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The ledger's sums at one moment, for metrics."""

    reserved: Money
    in_doubt: Money
    settled: Mapping[tuple[str, str], Money]
    """By team (empty for none) and model."""
    jobs: Mapping[State, int]
    video_bytes: int
    settled_in: Mapping[State, Money] = field(default_factory=dict)
    """What jobs cost that are in each state now."""

    def wasted(self, state: State) -> Money:
        """What jobs cost that ended in a state."""
        return self.settled_in.get(state, ZERO)


@dataclass(frozen=True, slots=True)
class Verification:
    """What re-deriving every balance from the entries found."""

    entries: int
    drift: Money
    """The sum of all absolute differences."""
    problems: Sequence[str] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing differed."""
        return not self.drift and not self.problems


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One ledger entry: what it moved, for which job, when, why and by whom."""

    id: int
    job: str
    kind: Entry
    at: int
    reserved: Money
    in_doubt: Money
    settled: Money
    reason: str | None
    actor: str | None
    corrects: int | None


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """An upstream call as the gate remembers it across restarts."""

    call_class: CallClass
    user: str
    at: int
    failed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Acts:
    """Which acts of administration: all of them, or those by what is said; `since` is in, `until`
    is out."""

    actor: str | None = None
    act: str | None = None
    target: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act of administration; `detail` is JSON text."""

    number: int
    at: int
    actor: str
    act: str
    target: str
    detail: str


@dataclass(frozen=True, slots=True)
class VideoTotals:
    """The stored videos in numbers."""

    count: int
    bytes: int
    undelivered: int
    undelivered_bytes: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing that a comparison with Venice's bill found, and what was done about it.

    Amounts are in US dollars; what only one side knows of is None on the other.
    """

    kind: str
    """`ours_only`, `theirs_only`, `different`, `resolved` or `waiting`."""
    act: str
    """What was done: an event of the job's, `correct`, or nothing."""
    reason: str
    at: int
    """When the job was sent, or the row was made."""
    ours: Money | None = None
    billed: Money | None = None
    job: str | None = None
    queue_id: str | None = None
    request_id: str | None = None
    user: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison of the ledger with Venice's bill."""

    number: int
    """0 before it is kept."""
    started_at: int
    ended_at: int
    actor: str
    since: int
    until: int
    is_complete: bool
    """Whether the bill was read to its end."""
    is_whole: bool
    """Whether nothing was left out between the whole run before and its own end."""
    rows: int
    jobs: int
    drift: Money
    """Venice's bill less the ledger, after what was put right."""
    corrected: Money
    """By how much this run changed what is settled of jobs that had ended."""
    counts: Mapping[str, int]
    """Jobs and rows by kind of finding, and acts by name."""
    otherwise: Mapping[str, str]
    """What the account was charged in other currencies than US dollars, by currency."""
    findings: Sequence[Disagreement] = ()
    """Not all of very many: `counts` has them all."""
