"""What a user is told of an order that does not fit, and beforehand: its price, every window, and
the form of it that would pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.simulator_process import SimulatorProcess

BODY = {"model": "wan-2.5-preview-text-to-video", "prompt": "a fox", "duration": "10s"}
LARGE = {**BODY, "resolution": "1080p"}
SMALL = {"duration": "5s", "resolution": "480p", "audio": False}
UPSCALED = {"model": "topaz-video-upscale", "video_url": "https://example.org/a.mp4"}
RULES = with_rules(
    organization={"pool": {"month": 100}},
    policies={
        "default": {"each_user": {"day": 1, "month": 60}},
        "poor": {"extends": "default", "each_user": {"day": "0.2"}},
        "strict": {"extends": "default", "job": {"usd": "0.5"}, "each_user": {"day": 50}},
        "short": {"extends": "default", "job": {"seconds": 5}, "each_user": {"day": 50}},
        "plain": {"extends": "default", "models": {"deny": ["wan-2.5-*"]}},
    },
)


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One user of each policy, named like it."""
    users: dict[str, str | None] = {name: name for name in RULES["policies"]}
    folder: Path = tmp_path_factory.mktemp("priced")
    with (
        SimulatorProcess(speed=80, seed=1, no_limits=True) as simulator,
        GatewayProcess(folder, simulator, policies=RULES, users=users) as gateway,
    ):
        yield gateway


def ask(gateway: GatewayProcess, user: str, door: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.keys[user]}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False) as client:
        return client.post(door, json=body)


def tried(gateway: GatewayProcess, user: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a dry run says."""
    answer = ask(gateway, user, "/gateway/v1/dry-run", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ordered(gateway: GatewayProcess, user: str, body: dict[str, Any]) -> httpx.Response:
    return ask(gateway, user, "/api/v1/video/queue", body)


def test_a_dry_run_tells_every_window_before_and_after_and_buys_nothing(
    priced: GatewayProcess,
) -> None:
    told = tried(priced, "default", LARGE)
    assert told.keys() == {"would_pass", "quote_usd", "budgets", "cheaper"}
    assert (told["would_pass"], told["quote_usd"]) == (False, "1.605000")
    day, month, pool = told["budgets"]
    assert pool == {
        "scope": "organization",
        "name": "organization",
        "window": "month",
        "models": "*",
        "fits": True,
    }
    assert (day["fits"], month["fits"]) == (False, True)
    assert (day["used_before_usd"], day["used_after_usd"]) == ("0.000000", "1.605000")
    assert (month["left_before_usd"], month["left_after_usd"]) == ("60.000000", "58.395000")
    assert "queue" not in priced.simulator.truth()["requests"]
    assert priced.cli("job", "list") == []


def test_while_nothing_is_bought_no_dry_run_would_pass(priced: GatewayProcess) -> None:
    assert tried(priced, "default", {**LARGE, **SMALL})["would_pass"]
    priced.cli("spending", "stop", "--why", "a drill")
    told = tried(priced, "default", {**LARGE, **SMALL})
    assert not told["would_pass"]
    assert "a drill" in told["message"]
    assert all(window["fits"] for window in told["budgets"])
    priced.cli("spending", "resume", "--why", "it is over")
    assert tried(priced, "default", {**LARGE, **SMALL})["would_pass"]


def test_a_402_offers_what_the_dry_run_offered_at_a_price_of_its_own(
    priced: GatewayProcess,
) -> None:
    offered = tried(priced, "default", LARGE)["cheaper"]
    assert offered["changes"] == SMALL
    refused = ordered(priced, "default", LARGE)
    assert refused.status_code == 402
    assert refused.json()["cheaper"] == offered
    budget = refused.json()["budget"]
    assert budget.pop("resets_at").endswith("Z")
    assert budget == {
        "scope": "user",
        "name": "default",
        "window": "day",
        "limit_usd": "1.000000",
        "spent_usd": "0.000000",
        "reserved_usd": "0.000000",
        "requested_usd": "1.605000",
    }
    bought = ordered(priced, "default", {**LARGE, **offered["changes"]})
    assert bought.status_code == 200, bought.text
    assert bought.headers["x-gateway-cost-usd"] == offered["quote_usd"]


def test_nothing_is_offered_that_does_not_fit_either(priced: GatewayProcess) -> None:
    refused = ordered(priced, "poor", LARGE)
    assert refused.status_code == 402
    assert "cheaper" not in refused.json()
    assert tried(priced, "poor", LARGE)["cheaper"] is None


@pytest.mark.parametrize(("user", "rule"), [("strict", "job.usd"), ("short", "job.seconds")])
def test_of_what_policy_refuses_a_dry_run_tells_the_price_and_what_would_be_allowed(
    priced: GatewayProcess, user: str, rule: str
) -> None:
    told = tried(priced, user, LARGE)
    assert (told["would_pass"], told["rule"], told["quote_usd"]) == (False, rule, "1.605000")
    assert all(window["fits"] for window in told["budgets"])
    assert told["cheaper"]["changes"] == SMALL
    assert tried(priced, user, {**LARGE, **SMALL})["would_pass"]
    refused = ordered(priced, user, LARGE)
    assert (refused.status_code, refused.json()["rule"]) == (400, rule)
    assert refused.json()["allowed"] == told["allowed"]


def test_of_a_model_that_is_not_allowed_no_form_is(priced: GatewayProcess) -> None:
    told = tried(priced, "plain", LARGE)
    assert (told["would_pass"], told["rule"]) == (False, "models")
    assert (told["quote_usd"], told["budgets"], told["cheaper"]) == (None, [], None)


def test_a_larger_upscale_than_fits_is_offered_smaller(priced: GatewayProcess) -> None:
    told = tried(priced, "plain", {**UPSCALED, "upscale_factor": 4})
    assert not told["would_pass"]
    assert told["cheaper"]["changes"] == {"upscale_factor": 1}
