"""The one place that picks backends, puts the parts together, and starts and stops them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType

import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import gateway
from gateway.administer import Office
from gateway.allowances import Allowances
from gateway.api.admin.guard import AdminGuard
from gateway.api.admin.routes import DOORS as ADMIN_DOORS
from gateway.api.edge import Edge
from gateway.api.routes import DOORS, OPEN_DOORS, in_order
from gateway.api.services import Links as MediaLinks
from gateway.api.services import Services
from gateway.book import JobBook
from gateway.catalogues import CatalogueShelf
from gateway.core.pacing import GateLimits
from gateway.core.retry import Endpoint, Outcome
from gateway.deliver import Deliveries
from gateway.estimate import Estimator
from gateway.gauges import Gauges
from gateway.keyring import AdminKey, Keyring
from gateway.metrics import Metrics
from gateway.moments import SystemClock
from gateway.policies import BadPolicy, LoadedRules, load_rules
from gateway.ports import Clock
from gateway.quotes import QuoteBook
from gateway.rules import Rules
from gateway.secret_files import new_key, read_or_make
from gateway.sending import Sending
from gateway.settings import Settings, SettingsRefused, fingerprint, read_secret_file
from gateway.spending import Spending
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.videos_disk import DiskVideoStore
from gateway.submit import Orders, Waits
from gateway.track import Tracking
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.gate import RECALL_MS, Gate
from gateway.upstream.venice import Venice
from gateway.workers.reaper import Reaper
from gateway.workers.rounds import Chore, go_round
from gateway.workers.tracker import Tracker

QUEUE_PER_MINUTE_KNOWN = 40
RETRIEVE_PER_MINUTE_KNOWN = 120
"""Venice's documented limits, where the policy says `auto`."""
TRACKER_ROUND = 0.1
REAPER_ROUND = 1.0
SHELF_ROUND = 1.0
FILES_ROUND = 1.0
"""Seconds between two looks at the policy and secret files; a change counts within two."""
ADMIN_KEY_FILE = "admin.key"
_log = structlog.get_logger(__name__)


class _Secrets:
    """Reads the secrets that came from files again when these change."""

    def __init__(self, settings: Settings, use: Callable[[Mapping[str, SecretStr]], None]) -> None:
        self._files = settings.secret_files
        self._use = use
        self._known = self._read()

    def _read(self) -> dict[str, SecretStr]:
        return {name: read_secret_file(name, path) for name, path in self._files.items()}

    async def run_once(self) -> None:
        """Take what has changed; a file that cannot be used leaves the old secret in use."""
        try:
            found = self._read()
        except SettingsRefused as error:
            _log.warning("secret.refused", why=str(error))
            return
        if found != self._known:
            self._known = found
            self._use(found)
            _log.info("secrets.renewed", names=sorted(found))


class _UpstreamCounts:
    """Counts what the upstream tells."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def called(self, endpoint: Endpoint, outcome: Outcome) -> None:
        """One attempt is back."""
        self._metrics.upstream_requests.labels(endpoint, outcome).inc()

    def retried(self, endpoint: Endpoint, reason: Outcome) -> None:
        """One more attempt is about to be made."""
        self._metrics.upstream_retries.labels(endpoint, reason).inc()


@dataclass
class _Health:
    spending: Spending
    rules: Rules
    gate: Gate
    orders: Orders

    def problems(self) -> dict[str, str]:
        """What keeps the gateway from taking orders."""
        found = {}
        if self.spending.is_draining:
            found["service"] = "draining: restarting or stopping"
        if self.spending.stopped is not None:
            found["spending"] = f"stopped: {self.spending.stopped}"
        return found

    def details(self) -> dict[str, str]:
        """How each part stands."""
        policies = f"version {self.rules.current.version}"
        if self.rules.trouble:
            policies += f" stands, the files on disk are refused: {self.rules.trouble}"
        return {
            "spending": "on",
            "policies": policies,
            "gate": f"{self.gate!r}",
            "orders": f"{self.orders.in_flight} under way",
        }


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
        settings, clock = self.settings, self.clock
        metrics = self._metrics = Metrics()
        metrics.build_info.labels(gateway.__version__).set(1)
        rules = self._rules = Rules(settings.policies, metrics)
        ledger = self._ledger = await SqliteLedger.open(
            settings.database_path,
            upstream=self.upstream_stamp,
            now=clock.now(),
            observe_commit=metrics.ledger_commit.observe,
        )
        self._stack.push_async_callback(ledger.close)
        store = DiskVideoStore(settings.video_dir)
        await store.sweep()
        venice = await self._open_upstream(rules)
        book = JobBook(ledger.job)
        keyring = Keyring(ledger, clock)
        await keyring.load()
        spending = Spending(
            clock, metrics, lambda: store.free_bytes() > rules.current.rulebook.videos.free_disk
        )
        shelf = CatalogueShelf(venice, clock, settings.data_dir / "catalogue.json")
        quotes = QuoteBook(venice, clock, lambda: rules.current.rulebook.quotes)
        allowances = Allowances(clock, lambda: rules.current.rulebook)
        estimator = Estimator(
            quotes=quotes,
            ledger=ledger,
            clock=clock,
            rules=lambda: rules.current,
            catalogue=lambda: shelf.current,
        )
        sending = Sending(
            ledger=ledger,
            upstream=venice,
            clock=clock,
            book=book,
            estimator=estimator,
            spending=spending,
            allowances=allowances,
            metrics=metrics,
            upstream_key=lambda: fingerprint(self.api_key),
        )
        orders = Orders(ledger, clock, sending, self._waits)
        deliveries = Deliveries(
            ledger=ledger,
            store=store,
            upstream=venice,
            clock=clock,
            book=book,
            metrics=metrics,
            fetches=lambda: rules.current.rulebook.videos.fetches,
        )
        tracking = Tracking(
            ledger=ledger,
            upstream=venice,
            clock=clock,
            book=book,
            deliveries=deliveries,
            metrics=metrics,
        )
        tracker = Tracker(tracking, clock, lambda: _gate_limits(rules.current).retrieve)
        book.listen(tracker.follow)
        self._stack.push_async_callback(tracker.close)
        await sending.recover()
        await tracking.recover()
        reaper = Reaper(ledger, deliveries, clock, lambda: rules.current.rulebook.videos)
        self.services = Services(
            clock=clock,
            ledger=ledger,
            book=book,
            keyring=keyring,
            admin_key=AdminKey(administration_key(settings)),
            orders=orders,
            quotes=quotes,
            estimator=estimator,
            shelf=shelf,
            deliveries=deliveries,
            allowances=allowances,
            spending=spending,
            links=MediaLinks(self._links_secret(), settings.public_url, clock),
            metrics=metrics,
            health=_Health(spending, rules, self._gate, orders),
            gauges=Gauges(
                metrics=metrics,
                ledger=ledger,
                clock=clock,
                gate=self._gate,
                breaker_is_open=venice.breaker_is_open,
                rulebook=lambda: rules.current.rulebook,
                knows_model=shelf.knows,
            ),
            rules=lambda: rules.current,
            reload_rules=rules.reload,
            body_bytes_max=settings.body_bytes_max,
        )
        apart = {"metrics"} if settings.metrics_port is not None else set()
        self.asgi = self._application({n: r for n, r in DOORS.items() if n not in apart})
        self.watched = self._application(OPEN_DOORS)
        await shelf.begin()
        await self._begin_chores(
            (tracker, TRACKER_ROUND),
            (reaper, REAPER_ROUND),
            (shelf, SHELF_ROUND),
            (rules, FILES_ROUND),
            (_Secrets(settings, self._use_keys), FILES_ROUND),
        )

    async def _open_upstream(self, rules: Rules) -> Venice:
        clock = self.clock
        client = self._client = VeniceClient(
            self.upstream_url, self.api_key, billing_key=self.settings.venice_billing_key
        )
        self._stack.push_async_callback(client.close)
        gate = self._gate = Gate(clock, _gate_limits(rules.current), self._ledger.record_call)
        now = clock.now()
        gate.recall(await self._ledger.recorded_calls(now - RECALL_MS), now)
        links = Links(self.upstream_url, rules.current.rulebook.venice.download_hosts)
        venice = Venice(
            client,
            gate,
            links,
            clock,
            _UpstreamCounts(self._metrics),
            rules=rules.current.rulebook.retry.rules,
            hold=rules.current.rulebook.venice.hold / 1000,
        )

        def follow(loaded: LoadedRules) -> None:
            venice.set_rules(loaded.rulebook.retry.rules, loaded.rulebook.venice.hold / 1000)
            gate.set_limits(_gate_limits(loaded))
            links.allow(loaded.rulebook.venice.download_hosts)

        rules.follow(follow)
        return venice

    def _use_keys(self, secrets_by_name: Mapping[str, SecretStr]) -> None:
        """Go on with other keys; jobs remember by which one they were bought."""
        self.api_key = secrets_by_name.get("VENICE_API_KEY", self.api_key)
        billing = secrets_by_name.get("VENICE_BILLING_KEY", self.settings.venice_billing_key)
        self._client.use_keys(self.api_key, billing)

    def _waits(self) -> Waits:
        return self.waits or Waits(hold=self._rules.current.rulebook.venice.hold / 1000)

    def _links_secret(self) -> bytes:
        made = read_or_make(self.settings.data_dir / "links.key", secrets.token_hex(32))
        return bytes.fromhex(made)

    def _application(self, doors: Mapping[str, Route]) -> ASGIApp:
        app = Starlette(routes=in_order(doors))
        # One spelling per path: a redirect would make clients repeat orders.
        app.router.redirect_slashes = False
        app.state.services = self.services
        app.state.office = Office(
            ledger=self._ledger,
            keyring=self.services.keyring,
            book=self.services.book,
            clock=self.clock,
            read_rules=self.services.rules,
            reload_rules=self.services.reload_rules,
        )
        names = {route.endpoint: name for name, route in doors.items()}
        # The edge answers every error itself, so Starlette's own handlers must not.
        guarded = AdminGuard(_WithApp(app), self.services.admin_key)
        return Edge(guarded, self._metrics, names, access_log=True)

    async def _begin_chores(self, *chores: tuple[Chore, float]) -> None:
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

    async def finish_orders(self, seconds: float) -> None:
        """Return when no order is under way, or after so many seconds."""
        await self.services.orders.finish(seconds)


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncIterator[ASGIApp]:
    """The doors of administration alone, on a database that no gateway works on.

    Nothing listens, no chore runs and Venice is not asked; the policies are read when a verb
    needs them. `DatabaseLocked` where another process has the database.
    """
    clock = SystemClock()
    ledger = await SqliteLedger.open(settings.database_path, upstream=None, now=clock.now())
    try:
        keyring = Keyring(ledger, clock)
        await keyring.load()
        app = Starlette(routes=list(ADMIN_DOORS.values()))
        app.router.redirect_slashes = False
        app.state.office = Office(
            ledger=ledger,
            keyring=keyring,
            book=JobBook(ledger.job),
            clock=clock,
            read_rules=cache(lambda: load_rules(settings.policies)),
            reload_rules=lambda: load_rules(settings.policies),
        )
        guarded = AdminGuard(_WithApp(app), AdminKey(administration_key(settings)))
        yield Edge(guarded, Metrics(), {}, access_log=False)
    finally:
        await ledger.close()


def administration_key(settings: Settings) -> str:
    """The admin key: the one that is set, else the one in the data directory, made if absent."""
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    return read_or_make(settings.data_dir / ADMIN_KEY_FILE, new_key(admin=True)[1])


class _WithApp:
    """Routes requests straight to the router, with `app` in the scope as endpoints expect it."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        await self._app.router(scope, receive, send)


def _gate_limits(loaded: LoadedRules) -> GateLimits:
    venice = loaded.rulebook.venice
    queue, retrieve = venice.queue_per_minute, venice.retrieve_per_minute
    return GateLimits.below(
        queue=QUEUE_PER_MINUTE_KNOWN if queue == "auto" else queue,
        retrieve=RETRIEVE_PER_MINUTE_KNOWN if retrieve == "auto" else retrieve,
        failures=venice.failures_per_30s,
    )
