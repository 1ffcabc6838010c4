"""A page of the bill is read exactly, or refused whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import ZERO
from gateway.core.usage import NotABill, UsageRow, read_page

ENTRY = {
    "amount": Decimal("-0.1"),
    "currency": "USD",
    "inferenceDetails": {"requestId": "r-1"},
    "notes": "API Inference",
    "pricePerUnitUsd": Decimal("0.1"),
    "sku": "wan-video-unit",
    "timestamp": "2026-06-14T19:52:45.087Z",
    "units": 1,
}


def page(*rows: Any, cursor: Any = None) -> dict[str, Any]:
    return {"data": list(rows), "nextCursor": cursor}


def test_a_row_is_read_with_its_amount_exact_and_its_time_in_utc() -> None:
    found = read_page(page(ENTRY, {**ENTRY, "inferenceDetails": None}, cursor="AZq3fK9t_-"))
    first, second = found.rows
    assert (str(first.charged), first.at, first.request_id) == ("0.100000", 1781466765087, "r-1")
    assert second.request_id is None
    assert found.cursor == "AZq3fK9t_-"


@given(st.decimals("0.0000000001", 1_000, allow_nan=False, allow_infinity=False))
def test_a_charge_and_its_refund_cancel_out_however_many_digits_they_have(usd: Decimal) -> None:
    charge, refund = (UsageRow(0, "s", "USD", amount) for amount in (-usd, usd))
    assert charge.charged + refund.charged == ZERO
    assert charge.charged > ZERO


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"data": []},
        {"data": {}, "nextCursor": None},
        page("row"),
        page({**ENTRY, "amount": "-0.1"}),
        page({**ENTRY, "amount": True}),
        page({**ENTRY, "amount": Decimal("1e30")}),
        page({**ENTRY, "sku": None}),
        page({**ENTRY, "currency": ""}),
        page({**ENTRY, "timestamp": "yesterday"}),
        page({**ENTRY, "timestamp": "2026-06-14T19:52:45"}),
        page(*[ENTRY] * 1_001),
        page(cursor=""),
        page(cursor="a b"),
        page(cursor=7),
    ],
)
def test_what_is_no_page_of_a_bill_is_refused(document: Any) -> None:
    with pytest.raises(NotABill):
        read_page(document)
