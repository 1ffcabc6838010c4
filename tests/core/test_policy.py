"""What a policy says about a job, and which budgets a job touches."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from gateway.core.budget import Limit, Scope
from gateway.core.job_check import check_job, check_price
from gateway.core.money import Money
from gateway.core.notation import amount, duration_ms, size_bytes
from gateway.core.policy import (
    Organization,
    Policy,
    RetrySection,
    Rulebook,
    VeniceRules,
)
from gateway.core.retry import RetryRules

DOLLAR = 1_000_000


def policy(**rules: Any) -> Policy:
    return Policy.model_validate(rules)


def rulebook(**sections: Any) -> Rulebook:
    return Rulebook.model_validate({"version": "1", "policies": {"default": {}}, **sections})


def refusal(
    rules: Policy,
    *,
    model: str = "wan-2.5",
    key_models: tuple[str, ...] = (),
    seconds: int | None = 5,
    resolution: str | None = "720p",
    has_audio: bool = False,
) -> str | None:
    """The rule that a job breaks, if any."""
    refused = check_job(
        rules,
        model=model,
        key_models=key_models,
        seconds=seconds,
        resolution=resolution,
        has_audio=has_audio,
    )
    return refused.rule if refused else None


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("25s", 25_000), ("10m", 600_000), ("24h", 86_400_000), ("7d", 604_800_000)],
)
def test_a_duration_reads_as_written(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "25", "25 s", "-5s", "1.5h", "1w", "1e3s", "9999d", "٣s", True]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("1KiB", 1_024), ("64MiB", 2**26), ("50GiB", 50 * 2**30)],
)
def test_a_size_reads_as_written(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "5GB", "5gib", "-1", "1.5GiB", "lots", "5 GiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "micros"), [("5", 5 * DOLLAR), ("0.25", 250_000), ("5.10", 5_100_000)]
)
def test_an_amount_reads_as_written(text: str, micros: int) -> None:
    assert amount(text) == Money(micros)


@pytest.mark.parametrize(
    "text", ["-1", "-0.000001", "NaN", "inf", "1e30", "1e3", "", "5 USD", "true"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        amount(text)


@pytest.mark.parametrize(
    "rules",
    [
        {"each_user": {"year": "5"}},
        {"each_user": {"day": "-1"}},
        {"each_user": {"day": "NaN"}},
        {"each_user": {"day": "1e30"}},
        {"each_user": "5"},
        {"each_usr": {}},
        {"warn_at": ["80"]},
        {"warn_at": ["2000%"]},
        {"models": {"allow": ["[a-z]"]}},
        {"models": {"allow": "*"}},
        {"job": {"usd": "free"}},
        {"job": {"seconds": "0"}},
        {"job": {"seconds": ["5", "x"]}},
        {"job": {"resolutions": ["720"]}},
        {"job": {"audio": "true"}},
        {"per_model": {"a b": {}}},
        {"per_model": {"wan-*": {"reference_seconds": "151"}}},
        {"per_model": {"wan-*": {"each_team": {}}}},
        {"rate": {"weight": "0"}},
        {"rate": {"active_jobs": "-1"}},
        {"rate": {"polls_per_minute": "many"}},
        {"observe": ["pools"]},
    ],
    ids=str,
)
def test_an_impossible_policy_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**rules)


@pytest.mark.parametrize(
    "sections",
    [
        {"version": "2"},
        {"version": True},
        {"organization": {"timezone": "Europe"}},
        {"organization": {"timezone": "../../etc/passwd"}},
        {"organization": {"timezone": "Mars/Olympus"}},
        {"organization": {"week_starts": "Monday"}},
        {"venice": {"failures_per_30s": "3"}},
        {"venice": {"queue_per_minute": "0"}},
        {"venice": {"download_hosts": ["https://example.org"]}},
        {"venice": {"download_hosts": ["*"]}},
        {"videos": {"keep": "7"}},
        {"videos": {"on_complete": "delete"}},
        {"videos": {"fetches": "0"}},
        {"retry": {"attempts": "0"}},
        {"retry": {"attempts": "11"}},
        {"retry": {"share": "101%"}},
        {"retry": {"queue_on_500": "always"}},
        {"quotes": {"drift": "-1%"}},
        {"teams": {"film": {"pool": {"month": "-1"}}}},
        {"teams": {"": {}}},
        {"teams": {"a\nb": {}}},
        {"policies": {}, "policy": {}},
    ],
    ids=str,
)
def test_an_impossible_rulebook_is_refused(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rulebook(**sections)


def test_zero_forbids_and_is_allowed_to_be_written() -> None:
    rules = policy(each_user={"day": "0"}, rate={"active_jobs": "0"}, job={"usd": "0"})
    assert rules.each_user["day"] == Money(0)
    assert check_price(rules, "wan-2.5", Money(1)) is not None


def test_defaults_are_those_of_the_contract() -> None:
    rules = policy()
    assert (rules.warn_at, rules.rate.polls_per_minute, rules.rate.weight) == (
        (50, 80, 100),
        20_000,
        1,
    )
    assert VeniceRules().hold == 25_000
    assert RetrySection().rules == RetryRules()
    calendar = Organization.model_validate(
        {"timezone": "Europe/Rome", "week_starts": "sunday"}
    ).calendar
    assert (calendar.timezone, calendar.week_starts) == (ZoneInfo("Europe/Rome"), 6)


def test_a_policy_that_says_nothing_allows_everything() -> None:
    assert refusal(policy(), seconds=None, resolution=None, has_audio=True) is None
    assert check_price(policy(), "wan-2.5", Money(10**12)) is None


@pytest.mark.parametrize(
    ("models", "model", "passes"),
    [
        ({"allow": ["wan-*"]}, "wan-2.5", True),
        ({"allow": ["wan-*"]}, "kling-2.5", False),
        ({"allow": ["wan-*"]}, "WAN-2.5", False),
        ({"allow": ["*"], "deny": ["*-private"]}, "grok-private", False),
        ({"allow": ["wan-2.?"]}, "wan-2.5", True),
        ({"allow": []}, "wan-2.5", False),
    ],
    ids=str,
)
def test_a_model_must_match_allow_and_must_not_match_deny(
    models: dict[str, Any], model: str, passes: bool
) -> None:
    assert (refusal(policy(models=models), model=model) is None) is passes


def test_a_keys_own_models_narrow_the_policys() -> None:
    rules = policy(models={"allow": ["wan-*", "kling-*"]})
    assert refusal(rules, key_models=("wan-*",)) is None
    assert refusal(rules, model="kling-2", key_models=("wan-*",)) == "models"
    assert refusal(rules, model="veo", key_models=("*",)) == "models"


@pytest.mark.parametrize(
    ("rule", "seconds", "passes"),
    [
        ("10", 10, True),
        ("10", 11, False),
        ("10", None, False),
        (["5", "10"], 10, True),
        (["5", "10"], 7, False),
        (["5", "10"], None, False),
        ("any", None, True),
    ],
    ids=str,
)
def test_seconds_are_at_most_a_number_or_exactly_one_of_a_list(
    rule: Any, seconds: int | None, passes: bool
) -> None:
    assert (refusal(policy(job={"seconds": rule}), seconds=seconds) is None) is passes


@pytest.mark.parametrize(
    ("resolution", "passes"), [("720p", True), ("1080p", False), (None, False)]
)
def test_a_resolution_left_to_venice_could_be_any(resolution: str | None, passes: bool) -> None:
    rules = policy(job={"resolutions": ["480p", "720p"]})
    assert (refusal(rules, resolution=resolution) is None) is passes


def test_sound_may_be_refused() -> None:
    silent = policy(job={"audio": "refused"})
    assert refusal(silent, has_audio=True) == "job.audio"
    assert refusal(silent, has_audio=False) is None


def test_a_jobs_price_must_fit_the_job_and_every_model_rule() -> None:
    rules = policy(job={"usd": "5"}, per_model={"seedance-*": {"job_usd": "3"}, "wan-*": {}})
    assert check_price(rules, "wan-2.5", Money(5 * DOLLAR)) is None
    for model, price, rule in (
        ("wan-2.5", 5 * DOLLAR + 1, "job.usd"),
        ("seedance-2", 3 * DOLLAR + 1, "per_model.seedance-*.job_usd"),
    ):
        refused = check_price(rules, model, Money(price))
        assert refused is not None
        assert refused.rule == rule


def test_a_refusal_says_what_is_allowed() -> None:
    refused = check_price(policy(job={"usd": "5"}), "wan-2.5", Money(6 * DOLLAR))
    assert refused is not None
    assert refused.allowed == "5.000000"
    assert "costs 6.000000 USD" in refused.message


def test_the_shortest_reference_length_that_is_set_for_a_model_counts() -> None:
    rules = policy(
        per_model={"*": {"reference_seconds": "60"}, "seed*": {"reference_seconds": "15"}}
    )
    assert (rules.reference_seconds("seedance-2"), rules.reference_seconds("wan")) == (15, 60)
    assert policy().reference_seconds("wan") == 150


def test_a_users_policy_is_their_own_else_their_teams_else_the_default() -> None:
    book = rulebook(
        policies={"default": {}, "studio": {}, "ci": {}},
        teams={"film": {"policy": "studio"}, "art": {}},
    )
    assert book.policy_name_for("ci", "film") == "ci"
    assert book.policy_name_for(None, "film") == "studio"
    assert book.policy_name_for(None, "art") == "default"
    assert book.policy_name_for(None, None) == "default"
    assert book.policy_name_for("gone", "film") == "studio"
    assert book.policy_name_for(None, "gone") == "default"


BUDGETS = {
    "each_user": {"day": "5", "month": "60"},
    "each_key": {"day": "3"},
    "per_model": {"seedance-*": {"each_user": {"day": "4"}, "each_key": {"24h": "2"}}},
}


def limits(model: str, **rules: Any) -> list[Limit]:
    book = rulebook(
        policies={"default": {**BUDGETS, **rules}},
        teams={"film": {"pool": {"month": "200"}}},
        organization={"pool": {"month": "500", "total": "9000"}},
    )
    return book.limits_for(
        key_id="k1",
        key_name="laptop",
        key_budget=("week", Money(7 * DOLLAR)),
        user="ada",
        team="film",
        policy=book.policies["default"],
        model=model,
    )


def test_a_job_touches_every_budget_of_its_key_user_team_and_organization() -> None:
    found = [
        (str(x.scope), x.id, x.window, x.amount.micros // DOLLAR, x.models) for x in limits("wan")
    ]
    assert found == [
        ("key", "k1", "week", 7, "*"),
        ("key", "k1", "day", 3, "*"),
        ("user", "ada", "day", 5, "*"),
        ("user", "ada", "month", 60, "*"),
        ("team", "film", "month", 200, "*"),
        ("organization", "organization", "month", 500, "*"),
        ("organization", "organization", "total", 9000, "*"),
    ]


def test_a_job_touches_the_budgets_of_its_model_beside_the_others() -> None:
    more = [(x.scope, x.window) for x in limits("seedance-2") if x.models == "seedance-*"]
    assert more == [(Scope.KEY, "24h"), (Scope.USER, "day")]
    assert len(limits("seedance-2")) == len(limits("wan")) + 2


def test_observed_budgets_are_those_of_the_policy_never_pools_or_a_keys_own() -> None:
    observed = {x.only_observed for x in limits("wan", observe=["budgets"]) if x.scope == "user"}
    firm = {
        x.only_observed
        for x in limits("wan", observe=["budgets"])
        if x.scope in ("team", "organization") or x.window == "week"
    }
    assert (observed, firm) == ({True}, {False})


def test_a_key_without_a_name_is_named_by_its_id() -> None:
    book = rulebook(policies={"default": {"each_key": {"day": "3"}}})
    (limit,) = book.limits_for(
        key_id="k1",
        key_name=None,
        key_budget=None,
        user="ada",
        team=None,
        policy=book.policies["default"],
        model="wan",
    )
    assert (limit.name, limit.id) == ("k1", "k1")


def test_a_rulebook_can_be_shown_and_read_again() -> None:
    book = rulebook(policies={"default": BUDGETS}, organization={"timezone": "Europe/Rome"})
    shown = book.model_dump(mode="json")
    assert shown["policies"]["default"]["each_user"]["day"] == "5.000000"
    assert shown["organization"]["timezone"] == "Europe/Rome"
