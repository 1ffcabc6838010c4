"""The account's bill: charges, refunds, and the rows a test plants to stand for everything else."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from sqlite3 import Row
from typing import Any

from gateway.simulator.money import micro_from_usd, usd_text
from gateway.simulator.store import Store


@dataclass(frozen=True)
class Filters:
    """Which rows a walk over the bill takes. Times are Unix seconds: from start, before end.

    Rows after ``shown_until`` are not on the bill yet.
    """

    start: float
    end: float
    shown_until: float
    currency: str | None


class Bill:
    """Reading the bill page by page, and changing it behind the jobs' back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, filters: Filters, after: tuple[float, int], size: int) -> list[Row]:
        """Up to ``size`` rows behind the row with that time and number, in ascending order."""
        return self._store.rows(
            "SELECT * FROM bill WHERE at >= ? AND at < ? AND at <= ? AND (at, id) > (?, ?)"
            " AND currency = coalesce(?, currency) ORDER BY at, id LIMIT ?",
            filters.start, filters.end, filters.shown_until, *after, filters.currency, size,
        )  # fmt: skip

    def plant(self, row: Mapping[str, Any], now: float) -> None:
        """Add a row that no job stands for. Raises KeyError without an amount."""
        self._store.insert(
            "bill",
            at=float(row.get("at", now)),
            amount=micro_from_usd(Decimal(row["amount_usd"])),
            currency=row.get("currency", "USD"),
            sku=row.get("sku", "zai-org-glm-5-1-llm-output-mtoken"),
            notes=row.get("notes", "API Inference"),
            queue_id=row.get("queue_id"),
            request_id=row.get("request_id"),
        )

    def alter(self, queue_id: str, amount: Decimal | None) -> None:
        """Change what the bill says was charged for a job; None takes its charge off the bill."""
        if amount is None:
            self._store.execute("DELETE FROM bill WHERE queue_id = ? AND amount < 0", queue_id)
            return
        self._store.execute(
            "UPDATE bill SET amount = ? WHERE queue_id = ? AND amount < 0",
            micro_from_usd(amount), queue_id,
        )  # fmt: skip

    def report(self) -> list[dict[str, Any]]:
        """Every row as it is kept."""
        rows = self._store.rows("SELECT * FROM bill ORDER BY at, id")
        return [{**dict(row), "amount": usd_text(row["amount"])} for row in rows]
