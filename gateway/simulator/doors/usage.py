"""``GET /billing/usage-history``: the bill in ascending order, page by page with a cursor."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from sqlite3 import Row
from typing import Any

from gateway.simulator.answers import Answer, invalid_answer, json_answer
from gateway.simulator.bill import Bill, Filters
from gateway.simulator.calls import Call
from gateway.simulator.front import Simulator
from gateway.simulator.issues import Issue, custom
from gateway.simulator.money import usd_number

CURRENCIES = ("USD", "DIEM", "BUNDLED_CREDITS")
FILTER_NAMES = ("startTimestamp", "endTimestamp", "currency", "pageSize")
PAGE_SIZE_MIN, PAGE_SIZE_MAX = 10, 1000
CURSOR_SECONDS_MAX = 3600
SIGNATURE_BYTES = 12
THE_END = 1e12
BEFORE_ALL = (-1.0, 0)


class _Refused(Exception):
    """A query that Venice answers with 400."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message)
        self.issue = issue


def usage_history(simulator: Simulator, call: Call) -> Answer:
    """One page of the bill; ``nextCursor`` is null on the last."""
    now = simulator.clock()
    simulator.jobs.refund_due(now)
    query = call.request.query_params
    try:
        walk = _continued(query, now) if "cursor" in query else _begun(query)
    except _Refused as refused:
        return invalid_answer([refused.issue])
    shown_until = now - simulator.settings.bill_delay_seconds / simulator.settings.speed
    filters = Filters(walk["start"], walk["end"], shown_until, walk["currency"])
    after = (walk["after_at"], walk["after_id"])
    rows = Bill(simulator.store).page(filters, after, walk["size"] + 1)
    has_more = len(rows) > walk["size"]
    rows = rows[: walk["size"]]
    cursor = None
    if has_more:
        place = {"after_at": rows[-1]["at"], "after_id": rows[-1]["id"], "made": now}
        cursor = _sealed({**walk, **place})
    return json_answer({"data": [_entry(row) for row in rows], "nextCursor": cursor})


def _begun(query: Mapping[str, str]) -> dict[str, Any]:
    start, end = _time(query, "startTimestamp", 0.0), _time(query, "endTimestamp", THE_END)
    if end <= start:
        raise _Refused(custom("endTimestamp", "endTimestamp must be later than startTimestamp"))
    currency = query.get("currency")
    if currency is not None and currency not in CURRENCIES:
        raise _Refused(custom("currency", f"Invalid currency. Expected {' | '.join(CURRENCIES)}"))
    size = query.get("pageSize", str(PAGE_SIZE_MAX))
    if not size.isdecimal() or not PAGE_SIZE_MIN <= int(size) <= PAGE_SIZE_MAX:
        message = f"pageSize must be {PAGE_SIZE_MIN} to {PAGE_SIZE_MAX}"
        raise _Refused(custom("pageSize", message))
    after_at, after_id = BEFORE_ALL
    return {
        "start": start, "end": end, "currency": currency, "size": int(size),
        "after_at": after_at, "after_id": after_id,
    }  # fmt: skip


def _continued(query: Mapping[str, str], now: float) -> dict[str, Any]:
    if any(name in query for name in FILTER_NAMES):
        raise _Refused(custom("cursor", "No filter may be sent alongside a cursor"))
    walk = _opened(query["cursor"])
    if walk is None or now - walk["made"] > CURSOR_SECONDS_MAX:
        raise _Refused(custom("cursor", "Invalid cursor. Restart from the first page."))
    return walk


def _time(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name)
    if text is None:
        return default
    refused = _Refused(custom(name, "Expected an ISO 8601 time in UTC"))
    if not text.endswith("Z"):
        raise refused
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise refused from error


def _sealed(walk: Mapping[str, Any]) -> str:
    payload = json.dumps(walk).encode()
    return base64.urlsafe_b64encode(_signature(payload) + payload).decode().rstrip("=")


def _opened(cursor: str) -> dict[str, Any] | None:
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return None
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(payload)):
        return None
    walk: dict[str, Any] = json.loads(payload)
    return walk


def _signature(payload: bytes) -> bytes:
    return hmac.digest(b"usage cursor", payload, hashlib.sha256)[:SIGNATURE_BYTES]


def _entry(row: Row) -> dict[str, Any]:
    at = datetime.fromtimestamp(row["at"], UTC)
    details = {"completionTokens": None, "inferenceExecutionTime": None, "promptTokens": None}
    return {
        "amount": usd_number(row["amount"]),
        "currency": row["currency"],
        "inferenceDetails": {**details, "requestId": row["request_id"]}
        if row["request_id"]
        else None,
        "notes": row["notes"],
        "pricePerUnitUsd": usd_number(abs(row["amount"])),
        "sku": row["sku"],
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
        "units": 1,
    }
