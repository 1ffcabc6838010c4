"""What administration needs where no gateway runs: its doors on the database, its key, upkeep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp

from gateway.administer import Office
from gateway.api.admin.guard import AdminGuard
from gateway.api.admin.routes import DOORS as ADMIN_DOORS
from gateway.api.edge import Edge
from gateway.app.notices import webhook_secret
from gateway.app.reconciling import open_reconciler
from gateway.app.routed import WithApp
from gateway.book import JobBook
from gateway.catalogues import COPY_FILE, read_copy
from gateway.core.catalogue import Catalogue
from gateway.core.pacing import GateLimits
from gateway.core.retry import RetryRules
from gateway.keyring import AdminKeys, Keyring
from gateway.metrics import Metrics, UpstreamCounts
from gateway.moments import SystemClock
from gateway.policies import load_rules
from gateway.ports import Clock, DatabaseRefused
from gateway.receivers import Receivers
from gateway.secret_files import WatchedSecret, new_key, read_or_make, replace
from gateway.settings import Settings, SettingsRefused
from gateway.spending import Spending
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.outbox import SqliteOutbox
from gateway.storage.upkeep import Upkeep
from gateway.storage.video_records import SqliteVideoRecords
from gateway.storage.videos_disk import DiskVideoStore
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.gate import RECALL_MS, Gate
from gateway.upstream.venice import Venice
from gateway.visitors import Visitors

ADMIN_KEY_FILE = "admin.key"
BILL_HOLD_SECONDS = 60.0
"""How long a command waits at the gate: as long as Venice may ask for silence."""


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncIterator[ASGIApp]:
    """The doors of administration alone, on a database that no gateway works on.

    Nothing listens and no chore runs; the policies are read when a verb needs them. Venice is
    asked for its bill alone, and only where the settings bring the key for that. `DatabaseLocked`
    where another process has the database.
    """
    clock = SystemClock()
    ledger = await SqliteLedger.open(settings.database_path, upstream=None, now=clock.now())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ledger.close)
        keyring = Keyring(ledger, clock)
        await keyring.load()
        admin_keys = AdminKeys(ledger, root_key(settings))
        await admin_keys.load()
        metrics = Metrics()
        spending = Spending(clock, metrics, ledger, lambda: True)
        await spending.recall()
        read_rules = cache(lambda: load_rules(settings.policies))
        outbox = SqliteOutbox(ledger.access)
        receivers = Receivers(
            outbox, keyring, clock, lambda: read_rules().rulebook, webhook_secret(settings)
        )
        await receivers.load()

        def read_catalogue() -> Catalogue | None:
            return read_copy(settings.data_dir / COPY_FILE)

        book = JobBook(ledger.job)
        venice = await _open_venice(settings, ledger, clock, metrics, stack)
        app = Starlette(routes=list(ADMIN_DOORS.values()))
        app.router.redirect_slashes = False
        app.state.office = Office(
            ledger=ledger,
            keyring=keyring,
            admin_keys=admin_keys,
            book=book,
            store=DiskVideoStore(settings.video_dir),
            video_records=SqliteVideoRecords(ledger.access),
            spending=spending,
            reconciler=open_reconciler(
                ledger=ledger,
                upstream=venice,
                clock=clock,
                book=book,
                metrics=metrics,
                rules=lambda: read_rules().rulebook.in_doubt,
                catalogue=read_catalogue,
            ),
            metrics=metrics,
            clock=clock,
            outbox=outbox,
            receivers=receivers,
            read_rules=read_rules,
            reload_rules=lambda: load_rules(settings.policies),
            read_catalogue=read_catalogue,
            quotes=None,
            way=None,
        )
        visitors = Visitors(clock)
        guarded = AdminGuard(WithApp(app), admin_keys, visitors)
        yield Edge(guarded, metrics, {}, visitors, access_log="off")


async def _open_venice(
    settings: Settings,
    ledger: SqliteLedger,
    clock: Clock,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Venice | None:
    """Venice for the bill, past a gate that knows of the calls before; None without the key.

    `DatabaseRefused` where the database is another upstream's: its bill would say nothing.
    """
    key = settings.venice_billing_key
    if key is None:
        return None
    belongs_to = await ledger.mark("upstream")
    if belongs_to not in (None, settings.upstream_url):
        raise DatabaseRefused(
            f"{settings.database_path} belongs to {belongs_to}, not to {settings.upstream_url}: "
            "their bills have nothing to do with each other."
        )
    client = VeniceClient(settings.upstream_url, key, billing_key=key)
    stack.push_async_callback(client.close)
    gate = Gate(clock, GateLimits(), ledger.record_call)
    now = clock.now()
    gate.recall(await ledger.recorded_calls(now - RECALL_MS), now)
    return Venice(
        client,
        gate,
        Links(settings.upstream_url, ()),
        clock,
        UpstreamCounts(metrics),
        rules=RetryRules(),
        hold=BILL_HOLD_SECONDS,
    )


def administration_key(settings: Settings) -> str:
    """The admin key: the one that is set, else the one in the data directory, made if absent."""
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    return read_or_make(settings.data_dir / ADMIN_KEY_FILE, new_key(admin=True)[1])


def root_key(settings: Settings) -> Callable[[], str]:
    """The admin key as it is now: a file of our own may be replaced at any time."""
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value
    return WatchedSecret(settings.data_dir / ADMIN_KEY_FILE, new_key(admin=True)[1])


def reset_administration_key(settings: Settings) -> Path:
    """Put a new admin key in the data directory; the old one opens nothing from now on.

    `SettingsRefused` where the key is a setting: it is changed where it was set.
    """
    if settings.admin_key is not None:
        raise SettingsRefused("VGW_ADMIN_KEY is set, so the admin key is changed there.")
    path = settings.data_dir / ADMIN_KEY_FILE
    replace(path, new_key(admin=True)[1])
    return path


def upkeep(settings: Settings) -> Upkeep:
    """Backups and schema steps of the database that the settings name."""
    return Upkeep(settings.database_path)
