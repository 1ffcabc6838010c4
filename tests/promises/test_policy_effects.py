"""No field of the policies is decoration: each one changes what the running gateway does.

`EFFECTS` tries a field on a real server; `ELSEWHERE` names the test that does, where time or a
fault must be made by hand. Together they are all the fields there are.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel

from gateway.core.policy import Rulebook
from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import MODEL, Client, eventually, order
from tests.simulator_process import SimulatorProcess

ROOT = Path(__file__).parent.parent.parent
SOUND = "wan-2.5-preview-text-to-video"
OTHER = "kling-2.5-turbo-pro-text-to-video"


@dataclass
class House:
    """A running gateway whose rules a test writes anew, and a user of the test's own."""

    gateway: GatewayProcess
    simulator: SimulatorProcess
    user: str

    async def rules(self, default: dict[str, Any] | None = None, **sections: Any) -> None:
        """Put these rules in force; `default` is the user's policy."""
        policies = {"default": default or {}, **sections.pop("policies", {})}
        self.gateway.write_policies(with_rules(**sections, policies=policies))
        await asyncio.to_thread(self.gateway.reload)
        refused = self.gateway.metrics()["venice_gateway_policies_ok"] == 0
        assert not refused, self.gateway.log()[-600:]

    async def ask(self, **changes: Any) -> httpx.Response:
        """The user orders a video of six cents, or a changed one."""
        async with Client(self.gateway, self.user) as client:
            return await client.queue(order(f"{self.user} {time.monotonic_ns()}", **changes))

    async def bought(self, **changes: Any) -> str:
        """An order that nothing stands against; its queue_id."""
        answer = await self.ask(**changes)
        assert answer.status_code == 200, answer.text
        queue_id: str = answer.json()["queue_id"]
        return queue_id

    async def usage_since(self, day: str) -> dict[str, Any]:
        """What the user spent since a day."""
        async with Client(self.gateway, self.user) as client:
            found: dict[str, Any] = (await client.get(f"/gateway/v1/usage?since={day}")).json()
            return found

    async def me(self) -> dict[str, Any]:
        """What the user sees of themselves."""
        async with Client(self.gateway, self.user) as client:
            found: dict[str, Any] = (await client.get("/gateway/v1/me")).json()
            return found

    def upstream_calls(self, endpoint: str) -> int:
        """How many calls of an endpoint reached the upstream so far."""
        return sum(call["endpoint"] == endpoint for call in self.simulator.truth()["calls"])

    async def move(self, *words: str) -> None:
        """Move the user by a command."""
        await asyncio.to_thread(self.gateway.cli, "user", "move", self.user, *words)


def budget_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 402, answer.text
    found: dict[str, Any] = answer.json()["budget"]
    return found


def refused(answer: httpx.Response, rule: str) -> None:
    assert (answer.status_code, answer.json()["rule"]) == (400, rule), answer.text


def limited(answer: httpx.Response, rule: str) -> None:
    assert answer.status_code == 429, answer.text
    assert answer.headers["ratelimit"].startswith(f'"{rule}"')
    for part in ("limit", "remaining", "reset"):
        assert answer.headers[f"x-ratelimit-{part}-requests"].isdigit()
    assert answer.headers["retry-after"].isdigit()


# the organization


async def timezone(house: House) -> None:
    resets, begins = [], []
    for zone in ("Asia/Kolkata", "UTC"):
        await house.rules({"each_user": {"day": 5}}, organization={"timezone": zone})
        (budget,) = (await house.me())["budgets"]
        resets.append(budget["resets_at"][11:16])
        begins.append((await house.usage_since("2026-11-01"))["since"][:16])
    assert resets == ["18:30", "00:00"]
    assert begins == ["2026-10-31T18:30", "2026-11-01T00:00"]


async def week_starts(house: House) -> None:
    resets = []
    for day in ("monday", "thursday"):
        await house.rules({"each_user": {"week": 5}}, organization={"week_starts": day})
        (budget,) = (await house.me())["budgets"]
        resets.append(time.strptime(budget["resets_at"][:10], "%Y-%m-%d").tm_wday)
    assert resets == [0, 3]


async def organization_pool(house: House) -> None:
    await house.rules(organization={"pool": {"total": "0.01"}})
    told = budget_of(await house.ask())
    assert told == {"scope": "organization", "name": "organization", "window": "total"}


# Venice's limits


async def rates(house: House) -> None:
    own = {"queue_per_minute": 20, "retrieve_per_minute": 60, "failures_per_30s": 40}
    await house.rules(venice=own)
    found = house.gateway.metrics()
    assert found['venice_gateway_gate_limit{class="queue"}'] == 19
    assert found['venice_gateway_gate_limit{class="retrieve"}'] == 57
    assert found["venice_gateway_failure_budget_limit"] == 30


async def automatic_rates(house: House) -> None:
    auto = {"queue_per_minute": "auto", "retrieve_per_minute": "auto"}
    await house.rules(venice=auto)

    async def are_known() -> bool:
        async with Client(house.gateway) as client:
            shown = (await client.get("/readyz?verbose")).text
        return "queue 190 of 200 a minute (published)" in shown

    # The stand-in publishes 200 orders a minute.
    await eventually(are_known, 5)
    assert house.gateway.metrics()['venice_gateway_gate_limit{class="queue"}'] == 190


async def hold(house: House) -> None:
    # The gate has counted what was bought in the last minute, so it is closed at once.
    await house.bought()
    await house.rules(venice={"queue_per_minute": 1, "hold": "300ms"})
    began = time.monotonic()
    answer = await house.ask()
    assert (answer.status_code, answer.json()["code"]) == (503, "UPSTREAM_BUSY")
    assert 0.25 <= time.monotonic() - began < 5


# videos


async def free_disk(house: House) -> None:
    await house.rules(videos={"free_disk": "999999TiB"})

    async def is_refused() -> bool:
        return (await house.ask()).status_code == 503

    await eventually(is_refused, 10)
    before = house.upstream_calls("quote")
    answer = await house.ask()
    assert (answer.status_code, answer.json()["code"]) == (503, "STORAGE_FULL")
    assert house.upstream_calls("quote") == before


async def on_complete(house: House) -> None:
    statuses = []
    for what in ("keep", "purge"):
        await house.rules(videos={"on_complete": what})
        queue_id = await house.bought()
        async with Client(house.gateway, house.user) as client:
            await client.finished(queue_id)
            await client.post("complete", {"model": MODEL, "queue_id": queue_id})
            statuses.append((await client.retrieve(queue_id)).status_code)
    assert statuses == [200, 404]


async def keep(house: House) -> None:
    await house.rules(videos={"keep": "0s"})
    queue_id = await house.bought()
    async with Client(house.gateway, house.user) as client:
        await client.finished(queue_id)

        async def is_gone() -> bool:
            return (await client.retrieve(queue_id)).status_code == 404

        await eventually(is_gone, 10)


async def keep_undelivered(house: House) -> None:
    await house.rules(videos={"keep_undelivered": "0s"})
    queue_id = await house.bought()

    async def is_gone() -> bool:
        jobs = await asyncio.to_thread(house.gateway.cli, "job", "show", queue_id)
        return bool(jobs["state"] in ("purged", "evicted"))

    await eventually(is_gone, 15)


# retry


async def attempts(house: House) -> None:
    made = []
    house.simulator.faults([{"endpoint": "quote", "action": {"status": 503, "body": {}}}])
    for number, most in enumerate((1, 2)):
        await house.rules(retry={"attempts": most, "base": "10ms", "cap": "20ms"})
        before = house.upstream_calls("quote")
        await house.ask(duration=("5s", "10s")[number], model=OTHER, resolution=None)
        made.append(house.upstream_calls("quote") - before)
    house.simulator.faults([])
    assert made == [1, 2]


async def queue_on_500(house: House) -> None:
    made = []
    failed = {"status": 500, "body": {"error": "inference failed"}}
    for what in ("never", "once"):
        await house.rules(retry={"queue_on_500": what, "base": "10ms", "cap": "20ms"})
        await house.ask()  # so that the price is known
        house.simulator.faults([{"endpoint": "queue", "action": failed}])
        before = house.upstream_calls("queue")
        await house.ask()
        made.append(house.upstream_calls("queue") - before)
        house.simulator.faults([])
    assert made == [1, 2]


# quotes


async def fresh(house: House) -> None:
    asked = []
    for how_long in ("0s", "60s"):
        await house.rules(quotes={"fresh": how_long})
        await house.bought()
        before = house.upstream_calls("quote")
        await house.bought()
        asked.append(house.upstream_calls("quote") - before)
    assert asked == [1, 0]


async def drift(house: House) -> None:
    counted = 'venice_gateway_quote_drifts_total{direction="up"}'
    drifts, job = [], ""
    for percent in ("900%", "10%"):
        await house.rules(quotes={"fresh": "0s", "drift": percent})
        await house.bought()
        before = house.gateway.metrics().get(counted, 0)
        dear = {"status": 200, "body": {"quote": 0.09}}
        house.simulator.faults([{"endpoint": "quote", "action": dear}])
        job = await house.bought()
        house.simulator.faults([])
        drifts.append(house.gateway.metrics().get(counted, 0) - before)
    shown = await asyncio.to_thread(house.gateway.cli, "job", "show", job)
    assert shown["entries"][0]["reason"] == "Venice quoted 0.060000 before and 0.090000 now"
    assert drifts == [0, 1]


async def free_models(house: House) -> None:
    answers = []
    free = {"status": 200, "body": {"quote": 0}}
    for models in ([], ["wan-*"]):
        await house.rules(quotes={"fresh": "0s", "free_models": models})
        house.simulator.faults([{"endpoint": "quote", "action": free}])
        answers.append((await house.ask()).status_code)
        house.simulator.faults([])
    assert answers == [502, 200]


# teams


async def team_policy(house: House) -> None:
    teams = {"film": {"policy": "strict"}}
    policies = {"strict": {"models": {"allow": ["kling-*"]}}}
    await house.rules(teams=teams, policies=policies)
    await house.bought()
    await house.move("--team", "film")
    refused(await house.ask(), "models")


async def team_pool(house: House) -> None:
    await house.rules(teams={"film": {"pool": {"total": "0.01"}}})
    await house.move("--team", "film")
    assert budget_of(await house.ask()) == {"scope": "team", "name": "film", "window": "total"}


# policies


async def extends(house: House) -> None:
    child = {"extends": "default", "job": {"seconds": 4}}
    await house.rules({"models": {"allow": ["wan-*"]}}, policies={"child": child})
    await house.move("--policy", "child")
    refused(await house.ask(), "job.seconds")
    refused(await house.ask(model=OTHER, resolution=None), "models")


async def each_user(house: House) -> None:
    await house.rules({"each_user": {"day": "0.12", "24h": "0.07"}})
    await house.bought()
    told = budget_of(await house.ask())
    assert (told["scope"], told["window"], told["limit_usd"]) == ("user", "24h", "0.070000")


async def each_key(house: House) -> None:
    await house.rules({"each_key": {"total": "0.06"}})
    await house.bought()
    assert budget_of(await house.ask())["scope"] == "key"


async def warn_at(house: House) -> None:
    await house.rules({"each_user": {"day": "0.12"}, "warn_at": ["40%"]})
    await house.bought()
    (told,) = [e for e in house.gateway.events("budget.threshold") if e["name"] == house.user]
    assert (told["percent"], told["used_usd"]) == (40, "0.060000")
    (budget,) = (await house.me())["budgets"]
    assert budget["used_percent"] == 50


async def models(house: House) -> None:
    await house.rules({"models": {"allow": ["kling-*"]}})
    refused(await house.ask(), "models")
    await house.rules({"models": {"deny": ["wan-2.2-*"]}})
    refused(await house.ask(), "models")
    await house.bought(model="wan-2.1-text-to-video")


async def job_usd(house: House) -> None:
    await house.rules({"job": {"usd": "0.05"}})
    refused(await house.ask(), "job.usd")


async def job_seconds(house: House) -> None:
    await house.rules({"job": {"seconds": 4}})
    refused(await house.ask(), "job.seconds")
    await house.rules({"job": {"seconds": [5]}})
    await house.bought()


async def job_resolutions(house: House) -> None:
    await house.rules({"job": {"resolutions": ["720p"]}})
    refused(await house.ask(), "job.resolutions")


async def job_audio(house: House) -> None:
    await house.rules({"job": {"audio": "refused"}})
    refused(await house.ask(model=SOUND), "job.audio")
    await house.bought(model=SOUND, audio=False)


async def per_model(house: House) -> None:
    await house.rules({"per_model": {"wan-2.2-*": {"job_usd": "0.01"}}})
    refused(await house.ask(), "per_model.wan-2.2-*.job_usd")
    for scope, field in (("user", "each_user"), ("key", "each_key")):
        await house.rules({"per_model": {"wan-2.2-*": {field: {"total": "0.01"}}}})
        assert budget_of(await house.ask())["scope"] == scope
        await house.bought(model="wan-2.1-text-to-video")
    # Nothing of these models has been bought yet, so two at six cents fit.
    await house.rules({"per_model": {"wan-2.2-*": {"each_user": {"day": "0.13"}}}})
    for _ in range(2):
        await house.bought()
    full = await house.ask()
    taken = [Decimal(budget_of(full)[name]) for name in ("spent_usd", "reserved_usd")]
    assert sum(taken) == Decimal("0.12")
    assert " for wan-2.2-*, which has 0.010000 USD of 0.130000 left" in full.json()["message"]
    await house.bought(model="wan-2.1-text-to-video")


async def reference_seconds(house: House) -> None:
    prices = []
    body: dict[str, Any] = {"model": "seedance-2-0-reference-to-video-basic"}
    body |= {"aspect_ratio": "16:9"}
    body |= {"reference_video_urls": ["https://example.org/reference.mp4"], "resolution": "480p"}
    for seconds in (15, 100):
        rules = {"per_model": {"seedance-*": {"reference_seconds": seconds}}}
        await house.rules(rules)
        async with Client(house.gateway, house.user) as client:
            answer = await client.request("POST", "/gateway/v1/dry-run", order("r", **body))
        assert answer.status_code == 200, answer.text
        prices.append(answer.json()["quote_usd"])
    assert float(prices[0]) < float(prices[1])


async def requests_per_minute(house: House) -> None:
    await house.rules({"rate": {"requests_per_minute": 2}})
    async with Client(house.gateway, house.user) as client:
        answers = [await client.get("/api/v1/models") for _ in range(3)]
    assert [a.status_code for a in answers[:2]] == [200, 200]
    limited(answers[2], "requests_per_minute")


async def polls_per_minute(house: House) -> None:
    await house.rules({"rate": {"polls_per_minute": 1}})
    async with Client(house.gateway, house.user) as client:
        assert (await client.retrieve("nobodys")).status_code == 404
        limited(await client.retrieve("nobodys"), "polls_per_minute")


async def queue_per_minute(house: House) -> None:
    await house.rules({"rate": {"queue_per_minute": 1}})
    await house.bought()
    limited(await house.ask(), "queue_per_minute")


async def active_jobs(house: House) -> None:
    await house.rules({"rate": {"active_jobs": 0}})
    limited(await house.ask(), "active_jobs")


async def rate_of_each_key(house: House) -> None:
    await house.rules({"rate": {"each_key": {"queue_per_minute": 1}}})
    await house.bought()
    limited(await house.ask(), "queue_per_minute")
    await house.rules({"rate": {"each_key": {"active_jobs": 0}}})
    limited(await house.ask(), "active_jobs")
    await house.rules({"rate": {"each_key": {"polls_per_minute": 0}}})
    async with Client(house.gateway, house.user) as client:
        limited(await client.retrieve("nobodys"), "polls_per_minute")
    await house.rules({"rate": {"each_key": {"requests_per_minute": 0}}})
    limited(await house.ask(), "requests_per_minute")


async def observe(house: House) -> None:
    strict: dict[str, Any] = {
        "models": {"allow": ["kling-*"]},
        "job": {"seconds": 1, "usd": "0.01"},
        "rate": {"queue_per_minute": 0, "active_jobs": 0},
        "each_user": {"total": "0.01"},
    }
    await house.rules({**strict, "observe": ["models", "job", "rate", "budgets"]})
    await house.bought()
    names = ("policy.observed", "rate.observed", "budget.observed")
    assert all(house.gateway.events(name) for name in names)


Effect = Callable[[House], Awaitable[None]]
EFFECTS: dict[Effect, tuple[str, ...]] = {
    timezone: ("organization.timezone",),
    week_starts: ("organization.week_starts",),
    organization_pool: ("organization.pool",),
    rates: ("venice.queue_per_minute", "venice.retrieve_per_minute", "venice.failures_per_30s"),
    automatic_rates: ("venice.queue_per_minute",),
    hold: ("venice.hold",),
    on_complete: ("videos.on_complete",),
    keep: ("videos.keep",),
    keep_undelivered: ("videos.keep_undelivered",),
    attempts: ("retry.attempts",),
    queue_on_500: ("retry.queue_on_500",),
    fresh: ("quotes.fresh",),
    drift: ("quotes.drift",),
    free_models: ("quotes.free_models",),
    team_policy: ("teams.policy",),
    team_pool: ("teams.pool",),
    extends: ("policies.extends",),
    each_user: ("policies.each_user",),
    each_key: ("policies.each_key",),
    warn_at: ("policies.warn_at",),
    models: ("policies.models.allow", "policies.models.deny"),
    job_usd: ("policies.job.usd",),
    job_seconds: ("policies.job.seconds",),
    job_resolutions: ("policies.job.resolutions",),
    job_audio: ("policies.job.audio",),
    per_model: (
        "policies.per_model.job_usd",
        "policies.per_model.each_user",
        "policies.per_model.each_key",
    ),
    reference_seconds: ("policies.per_model.reference_seconds",),
    requests_per_minute: ("policies.rate.requests_per_minute",),
    polls_per_minute: ("policies.rate.polls_per_minute",),
    queue_per_minute: ("policies.rate.queue_per_minute",),
    active_jobs: ("policies.rate.active_jobs",),
    rate_of_each_key: (
        "policies.rate.each_key.requests_per_minute",
        "policies.rate.each_key.polls_per_minute",
        "policies.rate.each_key.queue_per_minute",
        "policies.rate.each_key.active_jobs",
    ),
    observe: ("policies.observe",),
    # Last: that the disk is full is believed for a moment after it is not any more.
    free_disk: ("videos.free_disk",),
}
ELSEWHERE = {
    "version": "tests/test_policies.py::test_the_example_of_the_guide_is_read_as_it_says",
    "venice.download_hosts": "tests/upstream/test_downloads.py::"
    "test_the_allowed_hosts_follow_the_policy",
    "videos.grace": "tests/workers/test_reaper.py::"
    "test_a_delivery_that_completes_leaves_its_grace_however_long_ago_others_were",
    "videos.fetches": "tests/test_track.py::"
    "test_a_changed_policy_changes_how_many_are_fetched_at_once",
    "retry.base": "tests/core/test_retry.py::"
    "test_the_backoff_doubles_up_to_its_cap_with_full_jitter",
    "retry.cap": "tests/core/test_retry.py::"
    "test_the_backoff_doubles_up_to_its_cap_with_full_jitter",
    "retry.share": "tests/upstream/test_venice.py::"
    "test_retries_stay_a_tenth_of_the_calls_however_many_fail",
    "policies.rate.weight": "tests/upstream/test_gate.py::"
    "test_a_heavier_user_has_more_calls_in_a_turn",
    "policies.webhook_hosts": "tests/promises/test_notices.py::"
    "test_a_user_sets_a_webhook_only_where_the_policy_allows_its_host",
    "notify.url": "tests/promises/test_notices.py::"
    "test_a_jobs_end_is_told_signed_and_once_across_a_kill",
    "notify.secret": "tests/promises/test_notices.py::"
    "test_a_jobs_end_is_told_signed_and_once_across_a_kill",
}
"""Where a field's effect needs a clock of its own, or a fault no server makes."""
BESIDE = ("in_doubt.", "videos.max_bytes", "notify.")
"""Sections with promises of their own."""


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The path of every field that a policy file may hold, names between left out."""
    for name, field in model.model_fields.items():
        inner = next(iter(_models(field.annotation)), None)
        if inner is None:
            yield path + name
        else:
            yield from fields(inner, f"{path}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def test_every_field_of_the_policies_is_shown_to_do_something() -> None:
    shown = {field for names in EFFECTS.values() for field in names} | set(ELSEWHERE)
    known = {*fields(Rulebook), "policies.extends"}
    assert {f for f in known - shown if not f.startswith(BESIDE)} == set()
    assert shown - known == set()
    for named in ELSEWHERE.values():
        path, _, test = named.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text("utf-8"), named


@pytest.fixture(scope="module")
def own_simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=300, seed=1, no_limits=True, queue_per_minute=200) as running:
        yield running


@pytest.fixture(scope="module")
def own_gateway(
    own_simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    users: dict[str, str | None] = {effect.__name__: None for effect in EFFECTS}
    folder = tmp_path_factory.mktemp("effects")
    with GatewayProcess(folder, own_simulator, users=users) as running:
        yield running


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
async def test_the_field_does_what_it_says(
    own_gateway: GatewayProcess, own_simulator: SimulatorProcess, effect: Effect
) -> None:
    own_simulator.faults([])
    await effect(House(own_gateway, own_simulator, effect.__name__))
