"""Every metric there is, by name, with what it measures. Labels are bounded: no user, job, prompt
or raw path is ever one, and models outside the catalogue count as `other`.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric

from gateway.core.retry import Endpoint, Outcome
from gateway.ledgered import LedgeredCounter

PREFIX = "venice_gateway_"
REFUNDED = "credits_refunded"
"""Why Venice gives money back; what its bill shows beside that counts as `bill`."""
BILL = "bill"
REFUSALS = ("key", "user", "team", "organization", "balance", "models", "job", "per_model")
EVICTIONS = ("quota", "disk", "completed", "expired", "administrator")
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)
_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LOOKS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 50.0)
_SLOW = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_FILL = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The families, all but the spend in a registry of their own."""

    def __init__(self) -> None:  # noqa: PLR0915 - a list, and long as lists are
        self.registry = CollectorRegistry()
        self._measure_questions()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

        self.requests = counter(
            "requests_total", "Requests answered, by door and status.", "door", "status"
        )
        self.request_seconds = histogram(
            "request_seconds", "Time from a request to the end of its answer.", _FAST, "door"
        )
        self.upstream_requests = counter(
            "upstream_requests_total",
            "Requests sent to Venice, by endpoint and outcome.",
            "endpoint",
            "outcome",
        )
        self.upstream_retries = counter(
            "upstream_retries_total",
            "Requests sent to Venice again, by endpoint and reason.",
            "endpoint",
            "reason",
        )
        self.gate_tokens = gauge(
            "gate_tokens", "Calls that the key's window still allows, by class.", "class"
        )
        self.gate_waiting = gauge("gate_waiting", "Callers held at the gate, by class.", "class")
        self.gate_limit = gauge(
            "gate_limit", "Calls a minute that the gateway allows itself, by class.", "class"
        )
        self.key_blocked = gauge(
            "key_blocked", "1 while Venice refuses every call of the key for too many failures."
        )
        self.failure_limit = gauge(
            "failure_budget_limit", "Upstream failures within 30 s that the gateway allows itself."
        )
        self.failure_budget = gauge(
            "failure_budget_remaining",
            "Upstream failures that may still happen before the gateway stops sending.",
        )
        self.breaker_open = gauge(
            "breaker_open", "1 while an endpoint's breaker is open.", "endpoint"
        )
        self.model_closed = gauge(
            "model_closed", "1 while Venice does not take the key for a model.", "model"
        )
        self.jobs = gauge("jobs", "Jobs by state.", "state")
        self.ready_to_stored = histogram(
            "ready_to_stored_seconds",
            "Time from the news that a video is ready until it is stored.",
            _SLOW,
        )
        self.spend = LedgeredCounter(
            PREFIX + "spend_usd",
            "Dollars settled, corrections included, as the ledger has it.",
            ("team", "model"),
        )
        self.reserved = gauge("reserved_usd", "Dollars held for jobs in the making.")
        self.in_doubt = gauge("in_doubt_usd", "Dollars held for jobs whose fate is unknown.")
        self.doubt_age = gauge(
            "in_doubt_oldest_seconds", "Age of the oldest job whose fate is unknown; 0 for none."
        )
        self.waste = gauge(
            "waste_usd", "Dollars settled for jobs that ended without a video, by end.", "reason"
        )
        self.unfetched = counter(
            "unfetched_usd_total", "Dollars settled for videos that went before anybody had them."
        )
        self.refunds = counter("refunds_usd_total", "Dollars given back, by reason.", "reason")
        self.overruns = counter(
            "overruns_usd_total", "Dollars settled above what was held, because the bill says so."
        )
        self.quote_drifts = counter(
            "quote_drifts_total",
            "Quotes that differ from the one before by more than the policy allows.",
            "direction",
        )
        self.refusals = counter("refusals_total", "Orders refused, by reason.", "reason")
        self.budget_limit = gauge(
            "budget_limit_usd",
            "The limit of a team's or the organization's window, grants included.",
            "scope",
            "name",
            "window",
        )
        self.budget_used = gauge(
            "budget_used_usd",
            "Settled, reserved and in doubt within that window.",
            "scope",
            "name",
            "window",
        )
        self.window_start = gauge(
            "budget_window_start_timestamp_seconds",
            "When that window began; none for one that rolls and for `total`.",
            "scope",
            "name",
            "window",
        )
        self.window_end = gauge(
            "budget_window_end_timestamp_seconds",
            "When that window ends, exclusive; none for one that rolls and for `total`.",
            "scope",
            "name",
            "window",
        )
        self.bill_drift = gauge(
            "bill_drift_usd", "Venice's bill less the ledger, where they were last compared."
        )
        self.reconciliation_on = gauge(
            "reconciliation_on", "1 where Venice's bill is compared, 0 without VENICE_BILLING_KEY."
        )
        self.reconciled_at = gauge(
            "reconciled_timestamp_seconds", "When the last whole comparison began, in Unix time."
        )
        self.org_balance = gauge(
            "org_balance_usd", "The organization's balance at Venice; NaN while it is not known."
        )
        self.org_balance.set(float("nan"))
        self.org_balance_limits = gauge(
            "org_balance_limits",
            "1 where orders are paid from this balance alone, 0 where DIEM or credits pay first.",
        )
        self.video_hits = counter(
            "video_hits_total", "Requests for videos, by whether they were here.", "result"
        )
        self.video_bytes = gauge("video_store_bytes", "Bytes of videos in the store.")
        self.video_evictions = counter(
            "video_evictions_total", "Videos removed from the store, by reason.", "reason"
        )
        self.video_damage = counter(
            "video_damage_total", "Stored videos found missing or altered, by finder.", "found_by"
        )
        self.video_quota = gauge(
            "video_quota_bytes", "Bytes that videos may take at present: `max_bytes`, worked out."
        )
        self.videos_expiring = gauge(
            "videos_expiring", "Videos that nobody has yet and that will be purged within 48 hours."
        )
        self.fill_seconds = histogram(
            "video_fill_seconds", "Time to take in one video, checks and fsync included.", _FILL
        )
        self.fetched_bytes = counter("video_fetched_bytes_total", "Bytes of videos taken in.")
        self.disk_free = gauge(
            "disk_free_bytes", "Bytes that may still be written, by what is kept there.", "place"
        )
        self.disk_wanted = gauge(
            "disk_free_wanted_bytes", "Free bytes below which no new order is taken."
        )
        self.ledger_commit = histogram(
            "ledger_commit_seconds", "Time of one group commit, fsync included.", _COMMIT
        )
        self.suspicious = counter(
            "suspicious_videos_total", "Videos delivered that are too small to be real."
        )
        self.policy_ok = gauge("policies_ok", "0 while the policy files on disk are refused.")
        self.policy_loaded = gauge(
            "policies_loaded_timestamp_seconds", "When the rules in force were read."
        )
        self.loop_lag = histogram(
            "event_loop_lag_seconds", "How much later than asked the event loop wakes.", _LAG
        )
        self.spending_stopped = gauge(
            "spending_stopped", "1 while no new order is taken because the ledger is in question."
        )
        self.build_info = gauge("build_info", "Always 1; the labels say what runs.", "version")
        self._begin_at_nothing()
        # Memory, processor time, open files and the moment of the start, where /proc tells them.
        ProcessCollector(namespace=PREFIX.removesuffix("_"), registry=self.registry)

    def families(self) -> Iterator[Metric]:
        """Every family with its samples."""
        yield from self.registry.collect()
        yield from self.spend.collect()

    def text(self) -> bytes:
        """Every family in Prometheus's format."""
        return generate_latest(self.registry) + self.spend.text()

    def _begin_at_nothing(self) -> None:
        """Have rare series from the start: a rate needs a value before the first event."""
        for reason in (REFUNDED, BILL):
            self.refunds.labels(reason)
        for reason in REFUSALS:
            self.refusals.labels(reason)
        for reason in EVICTIONS:
            self.video_evictions.labels(reason)
        for direction in ("up", "down"):
            self.quote_drifts.labels(direction)
        for finder in ("reader", "scrub"):
            self.video_damage.labels(finder)
        for endpoint in Endpoint:
            for outcome in (Outcome.RATE_LIMITED, Outcome.BLOCKED):
                self.upstream_requests.labels(endpoint, outcome)

    def _measure_questions(self) -> None:
        """What asking Venice about videos takes."""
        self.gate_wait = Histogram(
            PREFIX + "gate_wait_seconds",
            "Time that a call waited for its turn, by class.",
            ("class",),
            buckets=_FAST,
            registry=self.registry,
        )
        self.looks_per_job = Histogram(
            PREFIX + "looks_per_job",
            "Times that Venice was asked about a job until its video was stored.",
            buckets=_LOOKS,
            registry=self.registry,
        )
        self.look_price = Gauge(
            PREFIX + "look_price_seconds",
            "Seconds of waiting that a question to Venice must save to be asked at the moment.",
            registry=self.registry,
        )


class UpstreamCounts:
    """Counts what happens on the way to Venice."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def called(self, endpoint: Endpoint, outcome: Outcome) -> None:
        """One attempt is back."""
        self._metrics.upstream_requests.labels(endpoint, outcome).inc()

    def retried(self, endpoint: Endpoint, reason: Outcome) -> None:
        """One more attempt is about to be made."""
        self._metrics.upstream_retries.labels(endpoint, reason).inc()
