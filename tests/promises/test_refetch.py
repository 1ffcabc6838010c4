"""A video that was paid for and did not come is asked for again where an administrator says so."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.gateway_process import CommandRefused, GatewayProcess
from tests.promises.asking import Client, eventually
from tests.promises.books import assert_books_balance, job_of
from tests.simulator_process import SimulatorProcess


def _broken(prompt: str) -> dict[str, Any]:
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    match = {"answer": "video", "prompt_sha256": digest}
    return {"endpoint": "retrieve", "match": match, "action": {"corrupt": "truncated"}}


async def test_a_video_that_never_came_whole_is_fetched_again_and_paid_for_once(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    prompt = "comes whole in the end"
    simulator.faults([_broken(prompt)])
    async with Client(gateway) as client:
        queue_id = await client.buy(prompt)

        async def is_undeliverable() -> bool:
            return job_of(gateway, queue_id).state == "undeliverable"

        await eventually(is_undeliverable, 60)
        assert (await client.retrieve(queue_id)).status_code == 502
        missed = [event["job"] for event in gateway.events("video.missed")]
        assert missed.count(job_of(gateway, queue_id).id) == 1
        simulator.faults([])
        for copy_gone in (1, 0):
            with closing(sqlite3.connect(gateway.data_dir / "gateway.db")) as database, database:
                database.execute(
                    "UPDATE jobs SET copy_gone = ? WHERE queue_id = ?", (copy_gone, queue_id)
                )
            if copy_gone:
                with pytest.raises(CommandRefused, match=r"copy of the job .* is deleted"):
                    gateway.cli("job", "refetch", queue_id, "--why", "it is not there")
        told = gateway.cli("job", "refetch", queue_id, "--why", "Venice says it is whole now")
        assert told["state"] == "processing"
        with closing(sqlite3.connect(gateway.data_dir / "gateway.db")) as database:
            acts = database.execute("SELECT act FROM audit WHERE target = ?", (told["job"],))
            assert acts.fetchall() == [("job.refetch",)]
        video = await client.finished(queue_id)
        assert video.headers["content-type"] == "video/mp4"
        job = job_of(gateway, queue_id)
        assert job.settled == job.quote
        with pytest.raises(CommandRefused, match="only one that is stalled"):
            gateway.cli("job", "refetch", queue_id, "--why", "again")
    assert_books_balance(gateway)
