"""What must never be seen: secrets anywhere, Venice's own headers, other people's jobs."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.simulator.settings import DEFAULT_BILLING_KEY
from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess, with_rules
from tests.promises.asking import (
    MODEL,
    PRIVATE_MODEL,
    Client,
    eventually,
    order,
    problems,
    settled_down,
)
from tests.promises.books import job_of, jobs_of
from tests.promises.every_door import ADMIN, OWN, Known, admin_key, ask_every_door
from tests.promises.listening import SECRET, Listener, until
from tests.simulator_process import SimulatorProcess

PROMPT = "CANARY-prompt-of-a-secret-film-4d1b"
PICTURE = "CANARYcGljdHVyZQ"
LINK = re.compile(rb"/private/[0-9a-zA-Z_-]+")
"""How the stand-in's bearer links read."""
OWN_SECRETS = ("admin.key", "links.key")
"""Files whose purpose is to hold a secret of the gateway's own."""
TOLD = ("job.completed", "job.failed", "job.in_doubt")
"""Notices that the jobs below lead to."""
CHANGING = ("date", "x-request-id", "ratelimit", "ratelimit-policy")


@pytest.fixture
def talkative(
    simulator: SimulatorProcess, listener: Listener, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """A gateway that logs all it can, and tells of all it does."""
    rules = with_rules(
        quotes={"fresh": "1s"},
        teams={"film": {}},
        notify=[
            {"url": listener.url, "secret": "env:NOTICE_SECRET"},
            {"url": listener.unsigned_url, "format": "slack"},
        ],
        policies={"default": {"webhook_hosts": ["hook.example"]}},
    )
    settings = {
        "VGW_LOG_LEVEL": "debug",
        "VENICE_BILLING_KEY": DEFAULT_BILLING_KEY,
        "NOTICE_SECRET": SECRET,
    }
    with GatewayProcess(tmp_path, simulator, policies=rules, settings=settings) as running:
        yield running


async def test_secrets_appear_nowhere(
    talkative: GatewayProcess, simulator: SimulatorProcess, listener: Listener
) -> None:
    """R26: after good jobs, broken ones, refusals and a crash."""
    gateway = talkative
    answers: list[httpx.Response] = []
    async with Client(gateway) as client:
        answers += await _live(gateway, simulator, client)
        gateway.restart()
        answers += [await client.get("/api/v1/models"), await client.get("/readyz?verbose")]
        await settled_down(gateway)
        await asyncio.to_thread(until, lambda: _are_told(listener))
        hook = await client.request(
            "PUT", "/gateway/v1/me/webhook", {"url": "https://hook.example/"}
        )
        known = await _known(gateway, client)
        answers += await asyncio.to_thread(ask_every_door, gateway, known)
        # Only jobs still open need their links; then nothing of them stays in any file.
        await eventually(lambda: _no_link_is_kept(gateway), 40)
        metrics = (await client.get("/metrics")).content
    process = Path(f"/proc/{gateway.pid}")
    shown = {
        "log": gateway.log().encode(),
        "metrics": metrics,
        "command line": (process / "cmdline").read_bytes(),
        **{f"answer {n} of {a.request.url.path}": _wire(a) for n, a in enumerate(answers)},
    }
    shown |= _files_of(gateway)
    gateway.terminate()
    shown |= {f"{name} after the stop": data for name, data in _files_of(gateway).items()}
    shown |= {f"notice {n}": data for n, data in enumerate(listener.arrived)}
    canaries = {
        "organization key": ORGANIZATION_KEY,
        "billing key": DEFAULT_BILLING_KEY,
        "user key": gateway.user_key,
        "admin key": admin_key(gateway),
        "secret of notices": SECRET.removeprefix("whsec_"),
        "secret of a webhook": hook.json()["secret"].removeprefix("whsec_"),
        "prompt": PROMPT,
        "picture": PICTURE,
    }
    assert _found(canaries, shown) == []


def _are_told(listener: Listener) -> bool:
    is_unsigned_told = any(b"/unsigned" in told for told in listener.arrived)
    return is_unsigned_told and all(map(listener.subjects, TOLD))


def _found(canaries: Mapping[str, str], shown: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Which secret is seen where."""
    hits = [(n, w) for w, data in shown.items() for n, c in canaries.items() if c.encode() in data]
    return hits + [("link", where) for where, data in shown.items() if LINK.search(data)]


async def _known(gateway: GatewayProcess, client: Client) -> Known:
    """Something real for every door that asks for it, and a comparison with the bill."""
    found = jobs_of(gateway)
    assert {"stored", "failed_billed", "in_doubt"} <= {str(job.state) for job in found}
    jobs = [job.id for job in found]
    kept = next(job.id for job in found if job.video_sha256 and job.completed_at is None)
    link = await client.request("POST", f"{OWN}/jobs/{kept}/links", {})
    headers = {"authorization": f"Bearer {admin_key(gateway)}"}
    async with httpx.AsyncClient(
        base_url=gateway.url + ADMIN, headers=headers, trust_env=False
    ) as admin:
        run = await admin.post("/reconciliations", json={}, timeout=60)
        told = (await admin.get("/notices")).json()["notices"]
    return {
        f"{OWN}/jobs/{{id}}": jobs,
        f"{OWN}/jobs/{{id}}/events": [kept],
        f"{OWN}/videos/{{id}}": [kept],
        f"{OWN}/media/{{token}}": [link.json()["url"].rpartition("/")[2]],
        f"{ADMIN}/users/{{name}}": ["anna"],
        f"{ADMIN}/users/{{name}}/policy": ["anna"],
        f"{ADMIN}/teams/{{name}}": ["film"],
        f"{ADMIN}/keys/{{id}}": [gateway.user_key.split("_")[1]],
        f"{ADMIN}/jobs/{{id}}": jobs,
        f"{ADMIN}/reconciliations/{{id}}": [str(run.json()["run"])],
        f"{ADMIN}/notices/{{id}}": [row["notice"] for row in told],
    }


async def _live(
    gateway: GatewayProcess, simulator: SimulatorProcess, client: Client
) -> list[httpx.Response]:
    """Do everything that handles a secret, rightly and wrongly."""
    answers = [await client.queue(order(f"{PROMPT} {n}", model=PRIVATE_MODEL)) for n in range(2)]
    answers += [await client.queue(order(f"{PROMPT} {kind}")) for kind in ("a", "b")]
    for answer in answers[:4]:
        queue_id = answer.json()["queue_id"]
        finished = await client.finished(queue_id)
        assert finished.headers["content-type"] == "video/mp4"
        answers.append(await client.post("complete", {"model": MODEL, "queue_id": queue_id}))
    kept = await client.buy(f"{PROMPT} kept")
    simulator.faults([{"endpoint": "queue", "outcome": "fail_billed", "times": 1}])
    failed = await client.buy(f"{PROMPT} failed")
    answers += [await client.finished(queue_id) for queue_id in (kept, failed)]
    bad: list[dict[str, Any]] = [
        order(PROMPT * 500),
        order(PROMPT, duration="-5s"),
        order(PROMPT, image_url=f"data:image/png;base64,{PICTURE}"),
        order(PROMPT, model="no-such-model"),
        order(PROMPT, callback=PROMPT),
    ]
    answers += [await client.queue(body) for body in bad]
    for action in (
        {"status": 502, "body": {"error": ORGANIZATION_KEY}},
        {"status": 400, "body": {"error": f"key {ORGANIZATION_KEY} may not order this"}},
        {"status": 504},
        {"drop": True},
        {"garbage": True},
        {"status": 401, "body": {"error": f"key {ORGANIZATION_KEY} is bad"}},
    ):
        simulator.faults([{"endpoint": "queue", "times": 1, "action": action}])
        answers.append(await client.queue(order(f"{PROMPT} {action}", model=PRIVATE_MODEL)))
    doomed = f"{PROMPT} that fails"
    which = {"prompt_sha256": sha256(doomed.encode()).hexdigest()}
    refusal = {"status": 422, "body": {"error": f"failed for key {ORGANIZATION_KEY}"}}
    simulator.faults([{"endpoint": "retrieve", "match": which, "action": refusal}])
    answers.append(await client.queue(order(doomed)))
    answers.append(await client.finished(answers[-1].json()["queue_id"]))
    assert answers[-1].status_code == 422
    simulator.faults([])
    wrong = {"Authorization": f"Bearer {gateway.user_key}x"}
    answers.append(await client.get("/api/v1/models", **wrong))
    answers.append(await client.get(f"/api/v1/{gateway.user_key}"))
    answers.append(await client.get(f"/api/v1/models?key={gateway.user_key}"))
    return answers


async def _no_link_is_kept(gateway: GatewayProcess) -> bool:
    is_cleared = all(job.download_url is None for job in jobs_of(gateway))
    return is_cleared and not any(map(LINK.search, _files_of(gateway).values()))


def _wire(answer: httpx.Response) -> bytes:
    headers = b"\n".join(name + b": " + value for name, value in answer.headers.raw)
    return (
        headers
        + b"\n\n"
        + (b"" if answer.headers["content-type"] == "video/mp4" else answer.content)
    )


def _files_of(gateway: GatewayProcess) -> dict[str, bytes]:
    found = (path for path in gateway.data_dir.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in found if path.name not in OWN_SECRETS}


async def test_venices_headers_reach_nobody_and_neither_does_its_balance(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R28."""
    hostile = {
        "Set-Cookie": "track=1",
        "X-Hostile": "yes",
        "Server": "venice-internal-7",
        "X-Venice-Balance-Usd": "987.654321",
        "Access-Control-Allow-Origin": "*",
        "Location": "http://127.0.0.1:9/",
        "Retry-After": "7",
        "X-Ratelimit-Remaining-Requests": "38",
    }
    every = ("quote", "queue", "retrieve", "complete", "models", "rate_limits")
    simulator.faults(
        [{"endpoint": e, "before": "answer", "action": {"headers": hostile}} for e in every]
    )
    async with Client(gateway, "berta") as client:
        queued = await client.queue(order("headers"))
        queue_id = queued.json()["queue_id"]
        pricing = {"model": MODEL, "duration": "10s", "resolution": "580p"}
        answers = [
            queued,
            await client.post("quote", pricing),
            await client.retrieve(queue_id),
            await client.finished(queue_id),
            await client.post("complete", {"queue_id": queue_id}),
            await client.get("/api/v1/models?type=video"),
            await client.get("/api/v1/api_keys/rate_limits"),
            await client.get("/api/v1/billing/balance"),
            await client.get(f"/gateway/v1/videos/{queue_id}"),
        ]
        simulator.faults(
            [
                {
                    "endpoint": "queue",
                    "action": {"status": 422, "headers": hostile, "body": {"error": "no"}},
                }
            ]
        )
        answers.append(await client.queue(order("headers refused")))
    for answer in answers:
        names = {name.lower() for name in answer.headers}
        foreign = {name.lower() for name in hostile} - {"x-ratelimit-remaining-requests"}
        assert not names & foreign, (answer.url, names & foreign)
        assert not [name for name in names if name.startswith("x-venice")]
        assert "987.654321" not in answer.headers.values()
        if answer.headers["content-type"] != "video/mp4":
            assert b"987.65" not in answer.content


@pytest.fixture
def own_gateway(simulator: SimulatorProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway for one test, which leaves it with a job that takes hours."""
    rules = with_rules(videos={"on_complete": "keep"})
    users = {"anna": None, "berta": None}
    with GatewayProcess(tmp_path, simulator, policies=rules, users=users) as running:
        yield running


async def test_a_strangers_job_and_an_unknown_one_are_the_same_to_everybody_else(
    own_gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R27: at every door, for jobs in every state, byte for byte."""
    gateway = own_gateway
    async with Client(gateway) as anna, Client(gateway, "berta") as berta:
        jobs = await _jobs_in_every_state(gateway, simulator, anna)
        for state, ids in jobs.items():
            for real in ids:
                unknown = _like(real)
                for method, path, body in _doors():
                    told = [await _ask(berta, method, path, body, i) for i in (real, unknown)]
                    assert told[0] == told[1], (state, method, path)
                    assert told[0][0] >= 400, (state, method, path)
        # Nothing of berta's has touched anna's jobs.
        for state, ids in jobs.items():
            assert job_of(gateway, ids[0]).state == state
            assert job_of(gateway, ids[0]).completed_at is None or state == "purged"


def _doors() -> list[tuple[str, str, str | None]]:
    own = ("videos/{}", "jobs/{}", "jobs/{}/events", "videos/{}?download")
    return [
        ("POST", "/api/v1/video/retrieve", "{}"),
        ("POST", "/api/v1/video/complete", "{}"),
        *(("GET", f"/gateway/v1/{path}", None) for path in own),
        ("HEAD", "/gateway/v1/videos/{}", None),
        ("POST", "/gateway/v1/jobs/{}/links", None),
    ]


async def _ask(
    client: Client, method: str, path: str, body: str | None, job: str
) -> tuple[int, dict[str, str], bytes]:
    content = None if body is None else {"model": MODEL, "queue_id": job}
    answer = await client.request(method, path.replace("{}", job), content)
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in CHANGING and not name.startswith("x-ratelimit")
    }
    return answer.status_code, headers, answer.content


def _like(real: str) -> str:
    """An id of the same shape that nobody has."""
    return real[:-4] + ("0000" if not real.endswith("0000") else "1111")


async def _jobs_in_every_state(
    gateway: GatewayProcess, simulator: SimulatorProcess, client: Client
) -> dict[str, list[str]]:
    """Ids, queue_id and own, of one job in each state that lasts."""
    # 300 times faster: hours, so that it is still being made however slow the machine is.
    long = {"endpoint": "queue", "outcome": {"execution_seconds": 3_000_000}, "times": 1}
    failed = {"endpoint": "queue", "outcome": "fail_billed", "times": 1}
    lost = {"endpoint": "queue", "before": "answer", "action": {"drop": True}, "times": 1}
    plans: dict[str, list[dict[str, Any]]] = {
        "processing": [long],
        "stored": [],
        "failed_billed": [failed],
        "in_doubt": [lost],
    }
    jobs = {}
    for state, plan in plans.items():
        simulator.faults(plan)
        answer = await client.queue(order(f"mine {state}"))
        job = answer.headers["x-gateway-job"]
        await eventually(functools.partial(_is, gateway, job, state), 20)
        jobs[state] = [i for i in (job, job_of(gateway, job).queue_id) if i is not None]
    simulator.faults([])
    return jobs


async def _is(gateway: GatewayProcess, job: str, state: str) -> bool:
    return await asyncio.to_thread(lambda: str(job_of(gateway, job).state)) == state


async def test_a_stranger_gets_the_promised_shape(gateway: GatewayProcess) -> None:
    """R27, R30: 404 `MEDIA_NOT_FOUND`."""
    async with Client(gateway, "berta") as berta:
        answer = await berta.retrieve("00000000-0000-0000-0000-000000000000")
    assert answer.status_code == 404
    assert answer.json()["code"] == "MEDIA_NOT_FOUND"
    assert problems(answer) == []
