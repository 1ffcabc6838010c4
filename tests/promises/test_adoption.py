"""Jobs bought elsewhere come here when they are adopted, and are bought no second time."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess
from tests.promises.asking import MODEL, PRICE, PRIVATE_MODEL, Client, order
from tests.simulator_process import SimulatorProcess


@pytest.fixture(scope="module")
def venice() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=300, seed=1) as running:
        yield running


def bought_there(venice: SimulatorProcess, prompt: str, **changes: Any) -> dict[str, Any]:
    """An order sent to Venice itself, with the organization's key."""
    request = urllib.request.Request(
        f"{venice.url}/video/queue",
        json.dumps(order(prompt, **changes)).encode(),
        {"authorization": f"Bearer {ORGANIZATION_KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


async def test_a_file_of_jobs_bought_before_a_switch_is_finished_here(
    venice: SimulatorProcess, tmp_path: Path
) -> None:
    venice.forget()
    public = bought_there(venice, "before the switch")
    private = bought_there(venice, "in private", model=PRIVATE_MODEL, resolution=None)
    link = private["download_url"]
    with GatewayProcess(tmp_path, venice) as gateway:
        file = tmp_path / "jobs.csv"
        file.write_text(
            "queue_id,model,price_usd,duration,resolution,tags,download_url\n"
            f"{public['queue_id']},,,5s,480p,before;trailer,\n"
            f"{private['queue_id']},{PRIVATE_MODEL},0.5,,,,{link}\n"
        )
        words = ("job", "adopt", "--csv", str(file), "--user", "anna", "--model", MODEL)
        first = gateway.cli(*words)
        assert [each["outcome"] for each in first] == ["adopted", "adopted"]
        again = gateway.cli(*words)
        assert [each["outcome"] for each in again] == ["known", "known"]
        assert [each["job"] for each in again] == [each["job"] for each in first]
        async with Client(gateway) as client:
            for answer in (public, private):
                video = await client.finished(answer["queue_id"])
                assert video.headers["content-type"] == "video/mp4", video.text
        job = gateway.cli("job", "show", public["queue_id"])
        assert job["settled_usd"] == f"{PRICE:.6f}"
        assert job["tags"] == ["before", "trailer"]
        assert gateway.cli("ledger", "verify")["ok"]
        assert link not in gateway.log()
    assert len(venice.truth()["jobs"]) == 2


async def test_a_job_adopted_while_no_gateway_runs_is_taken_up_at_the_next_start(
    venice: SimulatorProcess, tmp_path: Path
) -> None:
    queue_id = bought_there(venice, "at night")["queue_id"]
    with GatewayProcess(tmp_path, venice) as gateway:
        gateway.terminate()
        adopted = gateway.cli("job", "adopt", queue_id, "--model", MODEL, "--user", "anna")
        assert (adopted["adopted"], adopted["state"]) == (True, "processing")
        gateway.start()
        async with Client(gateway) as client:
            video = await client.finished(queue_id)
        assert video.headers["content-type"] == "video/mp4"


def test_a_line_that_is_refused_stops_no_other(venice: SimulatorProcess, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, venice, users={"anna": None, "bo": None}) as gateway:
        gateway.cli("job", "adopt", "here-already", "--model", MODEL, "--user", "bo")
        file = tmp_path / "jobs.csv"
        file.write_text(
            "queue_id,user,model,created_at\n"
            f"q-1,nobody,{MODEL},\n"
            "q-2,anna,no-such-model,\n"
            f"q-3,anna,{MODEL},2020-01-01\n"
            f"here-already,anna,{MODEL},\n"
            "\n"
            f"q-5,anna,{MODEL},\n"
        )
        with pytest.raises(Exception, match="line 2: error: q-1: There is no user nobody") as error:
            gateway.cli("job", "adopt", "--csv", str(file))
        for line in ("line 3: error: q-2", "line 4: error: q-3", "line 5: error: here-already"):
            assert line in str(error.value)
        assert gateway.cli("job", "show", "q-5")["user"] == "anna"
        assert gateway.cli("job", "show", "here-already")["user"] == "bo"
        assert len(gateway.cli("job", "list")) == 2
