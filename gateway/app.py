"""The one place that picks backends, puts the parts together, and starts and stops them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

import gateway
from gateway.allowances import Allowances
from gateway.api.edge import Edge
from gateway.api.routes import DOORS, routes
from gateway.api.services import Links as MediaLinks
from gateway.api.services import Services
from gateway.book import JobBook
from gateway.catalogues import CatalogueShelf
from gateway.core.pacing import GateLimits
from gateway.core.retry import Endpoint, Outcome
from gateway.deliver import Deliveries
from gateway.gauges import Gauges
from gateway.keyring import AdminKey, Keyring
from gateway.metrics import Metrics
from gateway.moments import SystemClock
from gateway.policies import BadPolicy, LoadedRules, load_rules
from gateway.ports import Clock
from gateway.quotes import QuoteBook
from gateway.secret_files import new_key, read_or_make
from gateway.sending import Sending
from gateway.settings import Settings, fingerprint
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
ADMIN_KEY_FILE = "admin.key"
_log = structlog.get_logger(__name__)


class Rules:
    """The rules in force; bad files leave the old ones standing."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder = folder
        self._metrics = metrics
        self._followers: list[Callable[[LoadedRules], None]] = []
        self.current = load_rules(folder)
        self.trouble: str | None = None
        metrics.policy_ok.set(1)

    def follow(self, follower: Callable[[LoadedRules], None]) -> None:
        """Have a function called with the rules, now and after each change."""
        self._followers.append(follower)
        follower(self.current)

    def reload(self) -> LoadedRules:
        """Read the files again; `BadPolicy` leaves everything as it was."""
        try:
            self.current = load_rules(self._folder)
        except BadPolicy as error:
            self.trouble = str(error)
            self._metrics.policy_ok.set(0)
            _log.error("policies.refused", why=str(error))
            raise
        self.trouble = None
        self._metrics.policy_ok.set(1)
        for follower in self._followers:
            follower(self.current)
        _log.info("policies.loaded", version=self.current.version)
        return self.current


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
        sending = Sending(
            ledger=ledger,
            upstream=venice,
            clock=clock,
            book=book,
            quotes=quotes,
            rules=lambda: rules.current,
            catalogue=lambda: shelf.current,
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
            admin_key=AdminKey(self._admin_key()),
            orders=orders,
            quotes=quotes,
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
        self.asgi = self._application()
        await self._begin_chores(
            (tracker, TRACKER_ROUND), (reaper, REAPER_ROUND), (shelf, SHELF_ROUND)
        )

    async def _open_upstream(self, rules: Rules) -> Venice:
        clock = self.clock
        client = VeniceClient(
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

    def _waits(self) -> Waits:
        return self.waits or Waits(hold=self._rules.current.rulebook.venice.hold / 1000)

    def _admin_key(self) -> str:
        if self.settings.admin_key is not None:
            return self.settings.admin_key.get_secret_value()
        return read_or_make(self.settings.data_dir / ADMIN_KEY_FILE, new_key(admin=True)[1])

    def _links_secret(self) -> bytes:
        made = read_or_make(self.settings.data_dir / "links.key", secrets.token_hex(32))
        return bytes.fromhex(made)

    def _application(self) -> ASGIApp:
        app = Starlette(routes=routes())
        # One spelling per path: a redirect would make clients repeat orders.
        app.router.redirect_slashes = False
        app.state.services = self.services
        names = {route.endpoint: name for name, route in DOORS.items()}
        # The edge answers every error itself, so Starlette's own handlers must not.
        return Edge(_WithApp(app), self.services, names, access_log=True)

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
