"""R32 by a tool that others wrote: `slowhttptest` against a gateway that honest clients use."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import Client
from tests.promises.test_hostile_http import HONEST_SECONDS_MAX, honest_seconds

TOOL = shutil.which("slowhttptest")
CONNECTIONS, SECONDS = 1_000, 60
ATTACKS = {
    "slow headers": ["-H", "-i", "5", "-u", "URL/livez"],
    "slow bodies": ["-B", "-i", "5", "-f", "application/json", "-u", "URL/api/v1/video/queue"],
    "slow reads": ["-X", "-k", "3", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-u", "LINK"],
}

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(TOOL is None, reason="slowhttptest is not here: its attacks are NOT tried"),
]


@pytest.mark.parametrize("name", ATTACKS)
async def test_slowhttptest_keeps_nobody_out(gateway: GatewayProcess, name: str) -> None:
    async with Client(gateway) as client:
        queue_id = await client.buy(name)
        await client.finished(queue_id)
        made = await client.request("POST", f"/gateway/v1/jobs/{queue_id}/links", {})
    places = {"URL": gateway.url, "LINK": made.json()["url"]}
    words = [re.sub("^(URL|LINK)", lambda m: places[m[1]], word) for word in ATTACKS[name]]
    over = asyncio.Event()
    honest = asyncio.create_task(honest_seconds(gateway, over))
    process = await asyncio.create_subprocess_exec(
        str(TOOL), *words, "-c", str(CONNECTIONS), "-r", "500", "-l", str(SECONDS), "-p", "5",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 2 * SECONDS)
    over.set()
    taken = sorted(await honest)
    told = re.sub(r"\x1b\[[0-9;]*m", "", out.decode("utf-8", "replace"))
    available = re.findall(r"service available:\s+(\w+)", told)
    p99 = taken[len(taken) * 99 // 100]
    print(f"{name}: honest p99 {p99:.3f} s of {len(taken)}; available: {set(available)}")
    assert available, told[-500:]
    if name == "slow reads":
        # The tool's own probe reads as slowly as its attack; the honest client's polls count.
        assert gateway.events("answer.untaken"), "those that take nothing are closed"
    else:
        assert set(available) == {"YES"}
    assert p99 < HONEST_SECONDS_MAX
