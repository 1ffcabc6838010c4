"""What the doors are handed: the verbs and the memory behind them, picked by `app/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from gateway.allowances import Allowances
from gateway.balance_watch import BalanceWatch
from gateway.book import JobBook
from gateway.catalogues import CatalogueShelf
from gateway.core.links import compose_token, read_token
from gateway.core.policy import Rulebook
from gateway.deliver import Deliveries
from gateway.estimate import Estimator
from gateway.experience import Experience
from gateway.gauges import Gauges
from gateway.health import Health
from gateway.keyring import AdminKeys, Keyring
from gateway.metrics import Metrics
from gateway.policies import LoadedRules
from gateway.ports import Clock, Ledger, VideoRecords
from gateway.quotes import QuoteBook
from gateway.receivers import Receivers
from gateway.records import Job
from gateway.removal import Removal
from gateway.rhythm import Rhythm
from gateway.spending import Spending
from gateway.streams import Streams
from gateway.submit import Orders

LINK_MS = 30 * 86_400_000
"""How long a job's own link works: as long as an undelivered video is kept by default."""


@dataclass(frozen=True)
class Links:
    """Links to videos that need no header: signed, and made from the public URL alone."""

    secret: bytes = field(repr=False)
    public_url: str
    clock: Clock

    def of(self, job: Job) -> str:
        """The one link of a job, the same each time."""
        return self.until(job, job.created_at + LINK_MS)

    def until(self, job: Job, at: int) -> str:
        """A link to a job's video that works until a moment."""
        token = compose_token(self.secret, job.id, at)
        return f"{self.public_url}/gateway/v1/media/{token}"

    def is_the_one(self, token: str, job: Job) -> bool:
        """Whether a token is of the job's one link, and not of one that was made to be shared."""
        return self.of(job).endswith(f"/{token}")

    def job_id(self, token: str) -> str | None:
        """Whose link it is; None where it is nobody's or past its end."""
        return read_token(self.secret, token, self.clock.now())


@dataclass(frozen=True)
class Services:
    """Everything a door may need."""

    clock: Clock
    ledger: Ledger
    video_records: VideoRecords
    book: JobBook
    keyring: Keyring
    admin_keys: AdminKeys
    orders: Orders
    quotes: QuoteBook
    estimator: Estimator
    shelf: CatalogueShelf
    deliveries: Deliveries
    removal: Removal
    allowances: Allowances
    spending: Spending
    balance: BalanceWatch
    receivers: Receivers
    links: Links
    experience: Experience
    streams: Streams
    rhythm: Rhythm
    metrics: Metrics
    health: Health
    gauges: Gauges
    rules: Callable[[], LoadedRules]
    reload_rules: Callable[[], LoadedRules]
    body_bytes_max: int

    @property
    def rulebook(self) -> Rulebook:
        """The rules that apply now."""
        return self.rules().rulebook


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.app.state.services
    return services
