"""A reconciler on the backends there are, for a gateway that runs and for a command without one."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gateway.book import JobBook
from gateway.core.catalogue import Catalogue
from gateway.core.policy import DoubtRules
from gateway.evidence import Evidence
from gateway.metrics import Metrics
from gateway.ports import Clock, Upstream
from gateway.reconcile import Reconciler
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.reconciliations import SqliteReconciliations


def open_reconciler(
    *,
    ledger: SqliteLedger,
    upstream: Upstream | None,
    clock: Clock,
    book: JobBook,
    metrics: Metrics,
    rules: Callable[[], DoubtRules],
    catalogue: Callable[[], Catalogue | None],
) -> Reconciler:
    """A reconciler; `upstream` is None where there is no key that may read the bill."""
    return Reconciler(
        kept=SqliteReconciliations(ledger.access),
        evidence=Evidence(ledger, clock, book, metrics),
        upstream=upstream,
        clock=clock,
        metrics=metrics,
        rules=rules,
        models=lambda: _models_of(catalogue()),
    )


def _models_of(catalogue: Catalogue | None) -> Collection[str]:
    return () if catalogue is None else catalogue.models.keys()
