"""A gateway that runs: it picks backends, puts the parts together, and starts and stops them."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType

import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

import gateway
from gateway.administer import Office, reconciling
from gateway.allowances import Allowances
from gateway.api.admin.guard import AdminGuard
from gateway.api.edge import Edge
from gateway.api.routes import DOORS, OPEN_DOORS, in_order
from gateway.api.services import Links as MediaLinks
from gateway.api.services import Services
from gateway.api.traced import Traced
from gateway.app.notices import NoticeParts
from gateway.app.offline import root_key
from gateway.app.reconciling import open_reconciler
from gateway.app.routed import WithApp
from gateway.balance_watch import BalanceWatch
from gateway.book import JobBook
from gateway.budget_watch import BudgetWatch
from gateway.catalogues import COPY_FILE, CatalogueShelf
from gateway.core.errors import SpendingStopped
from gateway.core.job import State
from gateway.core.money import ZERO, Money
from gateway.core.notify import NoticeEvent
from gateway.core.policy import Rulebook
from gateway.core.retry import Endpoint
from gateway.custody import Custody
from gateway.deliver import Deliveries
from gateway.estimate import Estimator
from gateway.evidence import ACTOR
from gateway.experience import Experience
from gateway.gauges import Gauges
from gateway.health import Health
from gateway.inventory import Inventory
from gateway.key_limits import KeyLimits
from gateway.keyring import AdminKeys, Keyring
from gateway.metrics import Metrics, UpstreamCounts
from gateway.moments import SystemClock
from gateway.noticing import Condition
from gateway.planning import Planning
from gateway.policies import BadPolicy, LoadedRules
from gateway.ports import Clock, LedgerFailure
from gateway.quotes import QuoteBook
from gateway.reconcile import Reconciler
from gateway.removal import Removal
from gateway.rhythm import Rhythm
from gateway.room import Room
from gateway.rules import Rules
from gateway.secret_files import read_or_make
from gateway.sending import Sending
from gateway.settings import Settings, fingerprint
from gateway.spending import Spending
from gateway.startup import StartupChecks
from gateway.storage.completions import SqliteCompletionTimes
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.video_records import SqliteVideoRecords
from gateway.storage.videos_disk import DiskVideoStore
from gateway.streams import Streams
from gateway.submit import Orders, Waits
from gateway.traces import open_traces
from gateway.track import Tracking
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.gate import RECALL_MS, Gate
from gateway.upstream.venice import Venice
from gateway.visitors import Visitors
from gateway.way_to_venice import WayToVenice
from gateway.workers.evictor import Evictor
from gateway.workers.forewarner import Forewarner
from gateway.workers.limits_reader import LimitsReader
from gateway.workers.mender import Mender
from gateway.workers.pulse import Pulse
from gateway.workers.reaper import Reaper
from gateway.workers.reconciler import NightlyReconciler
from gateway.workers.rounds import Chore, go_round
from gateway.workers.scrubber import Scrubber
from gateway.workers.secret_watcher import SecretWatcher
from gateway.workers.tracker import Tracker

TRACKER_ROUND = 0.1
REAPER_ROUND = 1.0
MENDER_ROUND = 1.0
NOTIFIER_ROUND = 1.0
DATABASE_FREE_BYTES = 64 * 2**20
"""Left free on the ledger's disk, or `free_disk` if that is less: a job takes some kilobytes."""
EVICTOR_ROUND = 2.0
SCRUBBER_ROUND = 1.0
FOREWARNER_ROUND = 60.0
SHELF_ROUND = 1.0
FILES_ROUND = 1.0
"""Seconds between two looks at the policy and secret files; a change counts within two."""
NIGHTLY_ROUND = 5.0
BALANCE_ROUND = 1.0
_log = structlog.get_logger(__name__)


@dataclass
class Gateway:
    """A gateway that is put together; `async with` starts and stops it."""

    settings: Settings
    upstream_url: str
    upstream_stamp: str
    api_key: SecretStr
    clock: Clock = field(default_factory=SystemClock)
    waits: Waits | None = None
    asgi: ASGIApp = field(init=False)
    """All doors; without the metrics where these have a port of their own."""
    watched: ASGIApp = field(init=False)
    """Probes and metrics alone, for a port of their own."""
    services: Services = field(init=False)

    async def __aenter__(self) -> Gateway:
        self._stack = AsyncExitStack()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._metrics = Metrics()
        self._metrics.build_info.labels(gateway.__version__).set(1)
        self._traces = open_traces(os.environ)
        if self._traces is not None:
            self._stack.push_async_callback(self._traces.close)
        self._rules = Rules(self.settings.policies, self._metrics)
        await self._open_storage()
        self._venice = await self._open_upstream()
        self._shelf = CatalogueShelf(self._venice, self.clock, self.settings.data_dir / COPY_FILE)
        self._limits_reader = LimitsReader(
            self._venice, self._limits, self.clock, self._shelf.knows
        )
        self._experience = Experience(SqliteCompletionTimes(self._ledger.access), self.clock)
        await self._experience.load()
        self._rhythm = Rhythm(self.clock.monotonic)
        self._planning = Planning(self._experience, lambda: self._limits.current.retrieve)
        self._reconciler = await self._build_reconciler()
        self._balance = BalanceWatch(
            self._venice,
            self.clock,
            self._metrics,
            has_billing_key=lambda: self.settings.venice_billing_key is not None,
            spent_since=self._spent_since,
        )
        self._book.listen(self._balance.follow)
        orders = self._build_orders()
        deliveries = self._build_deliveries()
        self.services = self._build_services(orders, deliveries)
        self._build_doors()
        await self._shelf.begin()
        await self._check(deliveries)
        await self._begin_work(deliveries)

    @property
    def _rulebook(self) -> Rulebook:
        return self._rules.current.rulebook

    async def _open_storage(self) -> None:
        settings = self.settings
        self._ledger = await SqliteLedger.open(
            settings.database_path,
            upstream=self.upstream_stamp,
            now=self.clock.now(),
            observe_commit=self._metrics.ledger_commit.observe,
            observe_broken=self._trip,
        )
        self._stack.push_async_callback(self._ledger.close)
        self._video_records = SqliteVideoRecords(self._ledger.access)
        self._store = DiskVideoStore(settings.video_dir)
        await self._store.sweep()
        self._book = JobBook(self._ledger.job)
        self._keyring = Keyring(self._ledger, self.clock)
        await self._keyring.load()
        self._admin_keys = AdminKeys(self._ledger, root_key(settings))
        await self._admin_keys.load()
        self._notices = NoticeParts(self._ledger, self._keyring, self.clock, self._rules, settings)
        await self._notices.receivers.load()

    async def _open_upstream(self) -> Venice:
        clock, rules = self.clock, self._rules
        client = self._client = VeniceClient(
            self.upstream_url,
            self.api_key,
            billing_key=self.settings.venice_billing_key,
            previous_key=self.settings.venice_api_key_previous,
            traces=self._traces,
        )
        self._stack.push_async_callback(client.close)
        limits = self._limits = KeyLimits(clock, lambda: rules.current.rulebook.venice)
        gate = self._gate = Gate(
            clock,
            limits.current,
            self._ledger.record_call,
            self._weight_of,
            lambda call_class, seconds: self._metrics.gate_wait.labels(call_class).observe(seconds),
        )
        limits.follow(gate.set_limits)
        now = clock.now()
        gate.recall(await self._ledger.recorded_calls(now - RECALL_MS), now)
        links = Links(self.upstream_url, rules.current.rulebook.venice.download_hosts)
        venice = Venice(
            client,
            gate,
            links,
            clock,
            UpstreamCounts(self._metrics),
            rules=rules.current.rulebook.retry.rules,
            hold=rules.current.rulebook.venice.hold / 1000,
            heed=self._heed,
        )

        def follow(loaded: LoadedRules) -> None:
            venice.set_rules(loaded.rulebook.retry.rules, loaded.rulebook.venice.hold / 1000)
            limits.refresh()
            links.allow(loaded.rulebook.venice.download_hosts)

        rules.follow(follow)
        return venice

    def _trip(self, why: str) -> None:
        self._spending.trip(why)

    def _weight_of(self, user: str) -> int:
        """Calls that a user may make in one turn at the gate."""
        known = self._keyring.user(user)
        if known is None:
            return 1
        name = self._rulebook.policy_name_for(known.policy, known.team)
        return self._rulebook.policies[name].rate.weight

    def _build_orders(self) -> Orders:
        ledger, clock, metrics = self._ledger, self.clock, self._metrics
        self._spending = Spending(
            clock,
            metrics,
            ledger,
            self._has_room,
        )
        self._quotes = QuoteBook(self._venice, clock, metrics, lambda: self._rulebook.quotes)
        self._allowances = Allowances(clock, lambda: self._rulebook)
        self._estimator = Estimator(
            quotes=self._quotes,
            ledger=ledger,
            clock=clock,
            rules=lambda: self._rules.current,
            catalogue=lambda: self._shelf.current,
        )
        self._sending = Sending(
            ledger=ledger,
            upstream=self._venice,
            clock=clock,
            book=self._book,
            estimator=self._estimator,
            spending=self._spending,
            allowances=self._allowances,
            metrics=metrics,
            budgets=BudgetWatch(clock, self._notices.noticing),
            balance=self._balance,
            upstream_key=lambda: fingerprint(self.api_key),
        )
        return Orders(ledger, clock, self._book, self._sending, self._waits)

    def _build_deliveries(self) -> Deliveries:
        self._custody = Custody(
            ledger=self._ledger,
            store=self._store,
            upstream=self._venice,
            clock=self.clock,
            book=self._book,
            metrics=self._metrics,
        )
        self._room = Room(self._custody, self._video_records, lambda: self._rulebook.videos)
        self._stack.push_async_callback(self._write_uses)
        self._inventory = Inventory(self._ledger, self._store, self._book)
        return Deliveries(self._custody, self._room, lambda: self._rulebook.videos.fetches)

    def _build_services(self, orders: Orders, deliveries: Deliveries) -> Services:
        gauges = Gauges(
            metrics=self._metrics,
            ledger=self._ledger,
            clock=self.clock,
            gate=self._gate,
            breaker_is_open=self._venice.breaker_is_open,
            closed_models=lambda: self._venice.closed_models,
            look_price=lambda: self._planning.price,
            rulebook=lambda: self._rulebook,
            knows_model=self._shelf.knows,
            doubts_since=self._doubts_since,
            free_bytes={"videos": self._store.free_bytes, "database": self._database_room},
        )
        return Services(
            clock=self.clock,
            ledger=self._ledger,
            video_records=self._video_records,
            book=self._book,
            keyring=self._keyring,
            admin_keys=self._admin_keys,
            orders=orders,
            quotes=self._quotes,
            estimator=self._estimator,
            shelf=self._shelf,
            deliveries=deliveries,
            removal=Removal(self._custody),
            allowances=self._allowances,
            spending=self._spending,
            balance=self._balance,
            receivers=self._notices.receivers,
            experience=self._experience,
            streams=Streams(self.clock),
            rhythm=self._rhythm,
            links=MediaLinks(self._links_secret(), self.settings.public_url, self.clock),
            metrics=self._metrics,
            health=Health(self._spending, self._rules, orders, self._parts(deliveries)),
            gauges=gauges,
            rules=lambda: self._rules.current,
            reload_rules=self._rules.reload,
            body_bytes_max=self.settings.body_bytes_max,
        )

    def _parts(self, deliveries: Deliveries) -> dict[str, Callable[[], str]]:
        """How the way to Venice and the store stand, for people."""
        return {
            "gate": lambda: repr(self._gate),
            "limits": lambda: str(self._limits),
            "closed models": lambda: ", ".join(sorted(self._venice.closed_models)) or "none",
            "videos": deliveries.tell,
            "reconciliation": lambda: self._reconciler.state,
        }

    async def _write_uses(self) -> None:
        try:
            await self._room.write_uses()
        except LedgerFailure as error:
            _log.warning("uses.unwritten", why=str(error))

    def _doubts_since(self) -> Iterator[int]:
        jobs = (job for job in self._book.open_jobs() if job.state is State.IN_DOUBT)
        return (job.sent_at or job.created_at for job in jobs)

    def _has_room(self) -> bool:
        """Whether there is room for what one more order brings, on both disks."""
        wanted = self._rulebook.videos.free_disk
        if self._store.free_bytes() <= wanted:
            return False
        return self._database_room() > min(wanted, DATABASE_FREE_BYTES)

    def _database_room(self) -> int:
        return shutil.disk_usage(self.settings.database_path.parent).free

    def _heed(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """What the headers of Venice's good answers tell."""
        self._limits.heed(endpoint, headers)
        self._balance.heed(headers)

    async def _spent_since(self, at: int) -> Money:
        rows = await self._ledger.spend("day", at, None)
        return sum((row.settled for row in rows), ZERO)

    async def _build_reconciler(self) -> Reconciler:
        reconciler = open_reconciler(
            ledger=self._ledger,
            upstream=self._venice if self.settings.venice_billing_key else None,
            clock=self.clock,
            book=self._book,
            metrics=self._metrics,
            rules=lambda: self._rulebook.in_doubt,
            catalogue=lambda: self._shelf.last_known,
        )
        await reconciler.recall()
        return reconciler

    def _build_doors(self) -> None:
        self._office = self._build_office()
        apart = {"metrics"} if self.settings.metrics_port is not None else set()
        self.asgi = self._application({n: r for n, r in DOORS.items() if n not in apart})
        self.watched = self._application(OPEN_DOORS)

    async def _check(self, deliveries: Deliveries) -> None:
        checks = StartupChecks(
            ledger=self._ledger,
            inventory=self._inventory,
            spending=self._spending,
            clock=self.clock,
            mend=deliveries.open,
        )
        await checks.run()
        self._stack.push_async_callback(checks.end)

    async def _begin_work(self, deliveries: Deliveries) -> None:
        """Take up what a stop left behind, then begin the chores."""
        tracking = Tracking(
            ledger=self._ledger,
            upstream=self._venice,
            clock=self.clock,
            book=self._book,
            deliveries=deliveries,
            metrics=self._metrics,
        )
        tracker = Tracker(
            tracking,
            self.clock,
            experience=self._experience,
            planning=self._planning,
            gate=self._gate,
            rhythm=self._rhythm,
        )
        self._book.listen(tracker.follow)
        self._stack.push_async_callback(tracker.close)
        await self._recover(tracking)
        self._notices.noticing.watch(*self._conditions())
        notifier = self._notices.begin(self._stack)
        ledger, orders = self._ledger, self.services.orders
        videos, clock, metrics = self._video_records, self.clock, self._metrics
        reaper = Reaper(
            ledger, self.services.removal, self._inventory, clock, lambda: self._rulebook.videos
        )
        forewarner = Forewarner(
            videos,
            clock,
            metrics,
            lambda: self._rulebook.videos.keep_rules,
            self._notices.noticing,
        )
        in_flight = orders.job_ids_in_flight
        mender = Mender(ledger, self._book, self.clock, in_flight, tracker.is_looking)
        self._begin_chores(
            (tracker, TRACKER_ROUND),
            (reaper, REAPER_ROUND),
            (mender, MENDER_ROUND),
            (notifier, NOTIFIER_ROUND),
            (Evictor(self._room, videos, clock, metrics), EVICTOR_ROUND),
            (Scrubber(deliveries, ledger, videos, clock), SCRUBBER_ROUND),
            (forewarner, FOREWARNER_ROUND),
            (self._shelf, SHELF_ROUND),
            (self._limits_reader, SHELF_ROUND),
            (self._rules, FILES_ROUND),
            (SecretWatcher(self.settings, self._use_keys), FILES_ROUND),
            (Pulse(self.clock, self._metrics.loop_lag.observe), 0.0),
            (self._build_nightly(), NIGHTLY_ROUND),
            (self._balance, BALANCE_ROUND),
        )

    def _build_nightly(self) -> NightlyReconciler:
        return NightlyReconciler(
            self._reconciler,
            lambda: reconciling.run(self._office, ACTOR),
            self._book,
            self.clock,
            lambda: self._rulebook,
        )

    def _conditions(self) -> list[Condition]:
        """What is told whenever it begins."""
        blocked = "Venice refuses everything for a while, because of too many failed requests"
        return [
            Condition(NoticeEvent.SPENDING_STOPPED, "spending", lambda: self._spending.stopped),
            Condition(NoticeEvent.BALANCE_LOW, "balance", lambda: self._balance.low),
            Condition(
                NoticeEvent.KEY_BLOCKED,
                "venice",
                lambda: blocked if self._gate.is_silent else None,
            ),
        ]

    async def _recover(self, tracking: Tracking) -> None:
        try:
            await self._sending.outcomes.recover()
        except SpendingStopped:
            # The ledger will not have it: what is held stays held, and reading goes on.
            _log.exception("start.orders_not_recovered")
        await tracking.recover()

    def _use_keys(self, secrets_by_name: Mapping[str, SecretStr]) -> None:
        """Go on with other keys; the jobs bought with the last one are finished with it."""
        replaced, self.api_key = self.api_key, secrets_by_name.get("VENICE_API_KEY", self.api_key)
        billing = secrets_by_name.get("VENICE_BILLING_KEY", self.settings.venice_billing_key)
        previous = secrets_by_name.get(
            "VENICE_API_KEY_PREVIOUS", self.settings.venice_api_key_previous or replaced
        )
        self._client.use_keys(self.api_key, billing, previous)
        if self.api_key != replaced:
            self._venice.take_new_key()
            self._limits.forget()
            self._balance.hurry()
            self._limits_reader.hurry()
        if (root := secrets_by_name.get("VGW_ADMIN_KEY")) is not None:
            self._admin_keys.use_root(root.get_secret_value())

    def _waits(self) -> Waits:
        return self.waits or Waits(hold=self._rulebook.venice.hold / 1000)

    def _links_secret(self) -> bytes:
        made = read_or_make(self.settings.data_dir / "links.key", secrets.token_hex(32))
        return bytes.fromhex(made)

    def _application(self, doors: Mapping[str, Route]) -> ASGIApp:
        app = Starlette(routes=in_order(doors))
        # One spelling per path: a redirect would make clients repeat orders.
        app.router.redirect_slashes = False
        app.state.services = self.services
        app.state.office = self._office
        names = {route.endpoint: name for name, route in doors.items()}
        # The edge answers every error itself, so Starlette's own handlers must not.
        visitors = Visitors(self.clock, self.settings.trusted_proxies)
        guarded = AdminGuard(WithApp(app), self._admin_keys, visitors)
        access_log = self.settings.access_log
        edge = Edge(guarded, self._metrics, names, visitors, access_log=access_log)
        return edge if self._traces is None else Traced(edge, self._traces, names)

    def _build_office(self) -> Office:
        return Office(
            ledger=self._ledger,
            keyring=self.services.keyring,
            admin_keys=self._admin_keys,
            book=self.services.book,
            store=self._store,
            video_records=self._video_records,
            spending=self._spending,
            outbox=self._notices.outbox,
            receivers=self._notices.receivers,
            reconciler=self._reconciler,
            metrics=self._metrics,
            clock=self.clock,
            read_rules=self.services.rules,
            reload_rules=self.services.reload_rules,
            read_catalogue=lambda: self._shelf.last_known,
            quotes=self._quotes,
            way=WayToVenice(
                upstream=self.upstream_stamp,
                key=lambda: fingerprint(self.api_key),
                gate=self._gate,
                limits=self._limits,
                breaker_is_open=self._venice.breaker_is_open,
                closed_models=lambda: self._venice.closed_models,
                balance=self._balance,
            ),
        )

    def _begin_chores(self, *chores: tuple[Chore, float]) -> None:
        tasks = [
            asyncio.create_task(go_round(type(chore).__name__, chore, seconds))
            for chore, seconds in chores
        ]

        async def end() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._stack.push_async_callback(end)

    def announce(self, url: str) -> None:
        """Leave in the lock file where administration finds this process."""
        self._ledger.announce(url)

    def reload_rules(self) -> None:
        """Read the policies again, keeping the old ones where the new are refused."""
        try:
            self._rules.reload()
        except BadPolicy:
            return

    def drain(self) -> None:
        """Take no more orders and let go of those that wait; what is sent is finished."""
        if not self.services.spending.is_draining:
            _log.info("service.draining", orders=self.services.orders.in_flight)
        self.services.spending.is_draining = True
        self._gate.close()
        self._book.wake_all()

    async def finish_orders(self, seconds: float) -> None:
        """Return when no order is under way, or after so many seconds."""
        await self.services.orders.finish(seconds)
