"""The truth ledger: complete, free of secrets, forgettable, and whole after a kill."""

import ast
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

import gateway.simulator
from tests.simulator.conftest import ORDER, PRIVATE_ORDER, Venice
from tests.simulator_process import SimulatorProcess

SECRETS = ("a very secret prompt", "an-inference-key")


def test_every_call_is_told_with_its_answer(venice: Venice) -> None:
    job = venice.buy()
    venice.post("/video/quote", {})
    venice.look(job)
    truth = venice.truth()
    assert truth["requests"] == {"queue": {"200": 1}, "quote": {"400": 1}, "retrieve": {"200": 1}}
    [queue, _, retrieve] = truth["calls"]
    assert queue == {
        "seq": 1,
        "at": venice.now,
        "endpoint": "queue",
        "status": 200,
        "key": hashlib.sha256(b"an-inference-key").hexdigest()[:8],
        "model": ORDER["model"],
        "queue_id": job["queue_id"],
        "prompt_sha256": hashlib.sha256(b"a gondola").hexdigest(),
    }
    assert retrieve["prompt_sha256"] == queue["prompt_sha256"]
    assert venice.truth(since=2)["calls"] == [retrieve]


def test_a_job_is_told_with_its_money_and_deliveries(venice: Venice) -> None:
    venice.fate({"execution_seconds": 100})
    job = venice.buy()
    venice.wait(100)
    venice.look(job)
    assert venice.truth()["jobs"] == [
        {
            "queue_id": job["queue_id"],
            "model": ORDER["model"],
            "prompt_sha256": hashlib.sha256(b"a gondola").hexdigest(),
            "accepted_at": venice.now - 100,
            "ready_at": venice.now,
            "state": "ready",
            "outcome": "completed",
            "charged_usd": "0.060000",
            "refunded_usd": "0.000000",
            "deleted": False,
            "retrieves": 1,
            "bytes_served_complete": 1,
        }
    ]


def test_forgetting_empties_everything_and_gives_no_number_twice(venice: Venice) -> None:
    old = venice.buy()
    for _ in range(21):
        venice.post("/video/quote", {})
    assert venice.request("DELETE", "/_truth").status_code == 200
    truth = venice.truth()
    assert (truth["jobs"], truth["calls"], truth["blocks"]) == ([], [], [])
    new = venice.buy()
    assert new["queue_id"] != old["queue_id"]
    assert venice.truth()["calls"][0]["seq"] > 22
    assert venice.request("GET", "/_truth?since=x").status_code == 400


def test_secrets_are_not_kept(make_venice: Any, data_dir: Path) -> None:
    venice = make_venice(data_dir=data_dir)
    venice.buy(prompt=SECRETS[0])
    link = venice.buy(**PRIVATE_ORDER, resolution="480p")["download_url"]
    kept = b"".join(path.read_bytes() for path in data_dir.iterdir())
    for secret in (*SECRETS, link.rsplit("/", 1)[1]):
        assert secret.encode() not in kept


def test_a_killed_simulator_comes_back_with_everything(data_dir: Path) -> None:
    options = {"speed": 1_000_000, "seed": 1, "queue_per_minute": 2}
    with (
        SimulatorProcess(data_dir, **options) as process,
        httpx.Client(headers={"authorization": "Bearer k"}, verify=False) as client,
    ):
        rule = {"endpoint": "queue", "skip": 1, "action": {"status": 500}, "before": "answer"}
        process.faults([rule])
        job = client.post(f"{process.url}/video/queue", json=ORDER).json()
        before = process.truth()
        url = process.url
        process.restart()
        assert process.url == url
        assert process.truth() == before
        # The fault rule went on counting, and so did the window of two orders a minute.
        orders = [client.post(f"{url}/video/queue", json=ORDER) for _ in range(2)]
        assert [order.status_code for order in orders] == [500, 429]
        first = client.post(f"{url}/video/retrieve", json=job).content
        process.restart()
        again = client.post(f"{url}/video/retrieve", json=job).content
        assert first == again
        assert process.truth()["charged_usd"] == "0.120000"


def test_a_block_survives_a_restart(make_venice: Any, data_dir: Path) -> None:
    venice = make_venice(data_dir=data_dir, failures_per_30s=2)
    for _ in range(2):
        venice.post("/video/quote", {})
    again = make_venice(data_dir=data_dir, failures_per_30s=2)
    assert again.post("/video/quote", {}).status_code == 400
    assert again.post("/video/quote", {}).status_code == 429
    third = make_venice(data_dir=data_dir, failures_per_30s=2)
    assert third.post("/video/quote", {}).status_code == 429
    third.wait(30)
    assert third.post("/video/quote", {}).status_code == 400


def test_all_writes_are_in_one_file_of_its_own(make_venice: Any, data_dir: Path) -> None:
    venice = make_venice(data_dir=data_dir)
    venice.buy()
    with sqlite3.connect(data_dir / "simulator.db") as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    connection.close()


def test_the_simulator_imports_nothing_of_the_gateway() -> None:
    folder = Path(gateway.simulator.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                is_ours = name.split(".")[0] == "gateway"
                assert not is_ours or name.startswith("gateway.simulator."), (path, name)


def test_a_start_that_fails_says_why(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        SimulatorProcess(data_dir, catalogue="/nowhere.yaml").start()
    [reason] = capfd.readouterr().err.splitlines()
    assert "/nowhere.yaml" in reason
