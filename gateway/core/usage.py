"""A page of Venice's usage history as values: what was billed, when, for what, in which currency.

A page that makes no sense is refused whole: a bill that is read wrongly moves money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gateway.core.money import Money, NotAnAmount

USD = "USD"
ROWS_MAX = 1_000
"""What Venice puts on one page at most (its OpenAPI file)."""
CURSOR_CHARACTERS_MAX = 512
TEXT_CHARACTERS_MAX = 200
"""Of a sku or a request id: what is longer is none."""


class NotABill(ValueError):
    """A page is not what Venice documents; the text says where."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One row; `amount` is as on the bill, less than nothing for what was charged."""

    at: int
    """Unix milliseconds, by Venice's clock."""
    sku: str
    currency: str
    amount: Decimal
    request_id: str | None = None

    @property
    def charged(self) -> Money:
        """What it charges in US dollars, refunds less than nothing: charge and refund of the same
        amount are rounded alike, away from nothing, so that they cancel out."""
        magnitude = Money.from_decimal(abs(self.amount))
        return magnitude if self.amount < 0 else -magnitude


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Rows in ascending time, and how to ask for those that follow; None on the last page."""

    rows: tuple[UsageRow, ...]
    cursor: str | None


def read_page(document: Any) -> UsagePage:
    """A page of `/billing/usage-history`; `NotABill` for anything else."""
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, list) or len(data) > ROWS_MAX or "nextCursor" not in document:
        raise NotABill("it is no page of rows with a nextCursor")
    cursor = document["nextCursor"]
    if cursor is not None and not _is_cursor(cursor):
        raise NotABill("its nextCursor is no cursor")
    return UsagePage(tuple(map(_row, data)), cursor)


def _is_cursor(cursor: object) -> bool:
    is_text = isinstance(cursor, str) and 0 < len(cursor) <= CURSOR_CHARACTERS_MAX
    return is_text and str(cursor).replace("-", "").replace("_", "").isalnum()


def _row(entry: Any) -> UsageRow:
    if not isinstance(entry, Mapping):
        raise NotABill("a row is no object")
    sku, currency = _text(entry.get("sku")), _text(entry.get("currency"))
    amount, timestamp = entry.get("amount"), entry.get("timestamp")
    if sku is None or currency is None or not isinstance(timestamp, str):
        raise NotABill("a row lacks sku, currency or timestamp")
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise NotABill("a row's amount is no number")
    row = UsageRow(_moment(timestamp), sku, currency, Decimal(amount), _request_id(entry))
    try:
        _ = row.charged
    except NotAnAmount as error:
        raise NotABill(f"a row's amount is none: {error}") from error
    return row


def _text(value: object) -> str | None:
    is_text = isinstance(value, str) and 0 < len(value) <= TEXT_CHARACTERS_MAX
    return str(value) if is_text else None


def _moment(timestamp: str) -> int:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise NotABill("a row's timestamp is no time") from error
    if moment.tzinfo is None:
        raise NotABill("a row's timestamp says nothing of a time zone")
    return round(moment.timestamp() * 1000)


def _request_id(entry: Mapping[str, Any]) -> str | None:
    details = entry.get("inferenceDetails")
    return _text(details.get("requestId")) if isinstance(details, Mapping) else None
