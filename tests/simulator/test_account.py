"""What Venice tells about models, balance, limits and the bill."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.simulator.settings import DEFAULT_BILLING_KEY
from tests.simulator.conftest import NOON, ORDER, TEXT_MODEL, Venice, exact


def amounts(page: dict[str, Any]) -> list[Decimal]:
    return [entry["amount"] for entry in page["data"]]


def plant(venice: Venice, rows: list[dict[str, Any]]) -> None:
    assert venice.request("POST", "/_bill", json=rows).status_code == 200


def test_models_are_listed_by_type(venice: Venice) -> None:
    listing = venice.get("/models?type=video").json()
    assert (listing["object"], listing["type"]) == ("list", "video")
    assert {entry["type"] for entry in listing["data"]} == {"video"}
    everything = venice.get("/models?type=all").json()["data"]
    assert {entry["type"] for entry in everything} == {"video", "text", "image"}
    assert venice.get("/models").json()["type"] == "text"
    assert venice.get("/models?type=dance").status_code == 400


def test_a_listed_video_model_has_constraints_and_no_price(venice: Venice) -> None:
    models = {entry["id"]: entry for entry in venice.get("/models?type=video").json()["data"]}
    model = models[TEXT_MODEL]
    assert model["object"] == "model"
    assert model["owned_by"] == "venice.ai"
    assert model["model_spec"]["offline"] is False
    assert model["model_spec"]["constraints"] == {
        "model_type": "text-to-video",
        "aspect_ratios": ["16:9", "9:16", "1:1"],
        "resolutions": ["720p", "580p", "480p"],
        "durations": ["5s"],
        "audio": False,
        "audio_configurable": False,
    }
    assert "pricing" not in model["model_spec"]
    assert sum(entry["model_spec"]["offline"] for entry in models.values()) == 1
    assert sum("deprecation" in entry["model_spec"] for entry in models.values()) == 1


def test_models_need_no_key(venice: Venice) -> None:
    assert venice.request("GET", "/api/v1/models?type=video").status_code == 200


def test_inference_keys_cannot_read_the_bill(venice: Venice) -> None:
    assert venice.get("/billing/balance").status_code == 401
    assert venice.get("/billing/usage-history").status_code == 401
    assert venice.get("/billing/usage", DEFAULT_BILLING_KEY).status_code == 404


def test_the_balance_follows_charges_and_refunds(venice: Venice) -> None:
    venice.buy()
    balance = exact(venice.get("/billing/balance", DEFAULT_BILLING_KEY))
    assert balance == {
        "canConsume": True,
        "consumptionCurrency": "USD",
        "balances": {"diem": None, "usd": Decimal("999.94")},
        "diemEpochAllocation": 0,
    }
    venice.fate({"kind": "fail_refunded_flat", "execution_seconds": 1})
    venice.buy()
    venice.wait(1)
    limits = exact(venice.get("/api_keys/rate_limits"))["data"]
    assert limits["balances"]["USD"] == Decimal("999.94")
    assert limits["rateLimits"][0] == {
        "apiModelId": TEXT_MODEL,
        "rateLimits": [{"amount": 40, "type": "RPM"}],
    }
    assert limits["nextEpochBegins"] == "2026-09-22T00:00:00.000Z"


def test_the_bill_shows_charges_and_refunds_in_order(venice: Venice) -> None:
    venice.fate({"kind": "fail_refunded_nested", "execution_seconds": 10})
    job = venice.buy()
    venice.wait(20)
    venice.buy()
    page = exact(venice.usage())
    assert amounts(page) == [Decimal("-0.06"), Decimal("0.06"), Decimal("-0.06")]
    assert page["nextCursor"] is None
    assert page["data"][0] == {
        "amount": Decimal("-0.06"),
        "currency": "USD",
        "inferenceDetails": {
            "completionTokens": None,
            "inferenceExecutionTime": None,
            "promptTokens": None,
            "requestId": job["queue_id"],
        },
        "notes": "API Inference",
        "pricePerUnitUsd": Decimal("0.06"),
        "sku": f"{TEXT_MODEL}-video-unit",
        "timestamp": "2026-09-21T14:13:20.000Z",
        "units": 1,
    }


def test_a_walk_over_the_bill_meets_every_entry_once(venice: Venice) -> None:
    prices = [Decimal(f"-0.{number:03d}") for number in range(1, 26)]
    plant(venice, [{"amount_usd": str(usd), "at": NOON + n // 3} for n, usd in enumerate(prices)])
    venice.wait()
    seen, query = [], "?pageSize=10"
    for _ in range(2):
        page = exact(venice.usage(query))
        seen += amounts(page)
        venice.buy()
        query = f"?cursor={page['nextCursor']}"
    last = exact(venice.usage(query))
    # Bought while walking, so they come last.
    assert seen + amounts(last) == prices + [Decimal("-0.06")] * 2
    assert last["nextCursor"] is None


def test_filters_bound_the_walk_and_travel_in_the_cursor(venice: Venice) -> None:
    plant(venice, [{"amount_usd": "-1", "at": NOON + n, "currency": "USD"} for n in range(30)])
    plant(venice, [{"amount_usd": "-2", "at": NOON + n, "currency": "DIEM"} for n in range(30)])
    venice.wait()
    window = "startTimestamp=2026-09-21T14:13:25Z&endTimestamp=2026-09-21T14:13:45Z"
    first = exact(venice.usage(f"?{window}&currency=DIEM&pageSize=12"))
    second = exact(venice.usage(f"?cursor={first['nextCursor']}"))
    assert (len(first["data"]), len(second["data"])) == (12, 8)
    entries = first["data"] + second["data"]
    assert {entry["currency"] for entry in entries} == {"DIEM"}
    assert entries[0]["timestamp"] == "2026-09-21T14:13:25.000Z"
    assert entries[-1]["timestamp"] == "2026-09-21T14:13:44.000Z"


@pytest.mark.parametrize(
    "query",
    [
        "?pageSize=9",
        "?pageSize=1001",
        "?pageSize=x",
        "?currency=EUR",
        "?startTimestamp=yesterday",
        "?startTimestamp=2026-09-21T14:13:25",
        "?startTimestamp=2026-09-21T14:13:25Z&endTimestamp=2026-09-21T14:13:25Z",
        "?cursor=abc",
        "?cursor=%C3%A4",
    ],
)
def test_a_bad_query_is_a_400(venice: Venice, query: str) -> None:
    assert venice.usage(query).status_code == 400


def test_a_cursor_stands_alone_and_grows_old(venice: Venice) -> None:
    plant(venice, [{"amount_usd": "-1", "at": NOON - 1}] * 11)
    cursor = venice.usage("?pageSize=10").json()["nextCursor"]
    assert venice.usage(f"?cursor={cursor}&pageSize=10").status_code == 400
    assert venice.usage(f"?cursor=A{cursor[1:]}").status_code == 400
    assert venice.usage(f"?cursor={cursor}").status_code == 200
    venice.wait(3601)
    assert venice.usage(f"?cursor={cursor}").status_code == 400


def test_the_bill_can_be_late_and_anonymous(make_venice: Any) -> None:
    venice = make_venice(bill_delay_seconds=60, bill_names_queue_id=False)
    job = venice.buy()
    venice.wait(59)
    assert venice.usage().json()["data"] == []
    venice.wait(1)
    [entry] = venice.usage().json()["data"]
    assert entry["inferenceDetails"]["requestId"] != job["queue_id"]


def test_a_planted_difference_changes_the_bill_and_not_the_truth(venice: Venice) -> None:
    dearer, missing = venice.buy(), venice.buy()
    changes = [
        {"queue_id": dearer["queue_id"], "amount_usd": "-0.5"},
        {"queue_id": missing["queue_id"], "amount_usd": None},
    ]
    assert venice.request("PUT", "/_bill", json=changes).status_code == 200
    venice.wait(1)
    assert amounts(exact(venice.usage())) == [Decimal("-0.5")]
    assert venice.truth()["charged_usd"] == "0.120000"
    assert venice.request("POST", "/_bill", json=[{"sku": "no amount"}]).status_code == 400


def test_money_on_the_wire_is_never_rounded_through_a_float(venice: Venice) -> None:
    for _ in range(3):
        venice.post("/video/queue", {**ORDER, "resolution": "580p"})
    assert '"usd":999.745' in venice.get("/billing/balance", DEFAULT_BILLING_KEY).text
