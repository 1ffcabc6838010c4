"""What `docs/how-to/` tells people to paste does what it says there, with the program it is for."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway_process import ROOT, GatewayProcess, with_rules
from tests.promises.asking import arrived, order, purchases
from tests.simulator_process import SimulatorProcess

START_SECONDS_MAX = 10.0
AROUND = """
daemon off; pid nginx.pid; worker_processes 1;
events {{}}
http {{ access_log access.log; client_body_temp_path body; proxy_temp_path proxy; {server} }}
"""

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=300, seed=1, no_limits=True) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("behind-nginx")
    with GatewayProcess(folder, simulator, policies=with_rules()) as running:
        yield running


@pytest.fixture(scope="module")
def front(
    gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of an nginx that is configured as the page says, but for its TLS."""
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (folder / "nginx.conf").write_text(AROUND.format(server=documented(gateway.port, port)))
    nginx = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"],
        stderr=subprocess.PIPE,
    )
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"authorization": f"Bearer {gateway.user_key}"},
        timeout=30,
        trust_env=False,
    ) as client:
        try:
            wait_until_ready(client, nginx)
            yield client
        finally:
            nginx.terminate()
            nginx.communicate(timeout=10)


def documented(behind: int, port: int) -> str:
    """The page's server block, on another port, before another one, without TLS."""
    page = (ROOT / "docs" / "how-to" / "nginx.md").read_text("utf-8")
    found = re.search(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    server = re.sub(r"^ *ssl_.*\n", "", found[1], flags=re.MULTILINE)
    return server.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace(
        "127.0.0.1:8080", f"127.0.0.1:{behind}"
    )


def wait_until_ready(client: httpx.Client, nginx: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        assert nginx.poll() is None, nginx.communicate()[1]
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise TimeoutError("nginx was not ready in time")


async def test_a_client_that_leaves_nginx_and_sends_again_buys_one_video(
    front: httpx.Client, gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    late = {"endpoint": "queue", "before": "answer", "action": {"delay_seconds": 1.0}, "times": 1}
    simulator.faults([late])
    body = order("behind nginx")
    first = asyncio.create_task(asyncio.to_thread(_order_and_leave, front, body))
    await arrived(simulator, "queue", "behind nginx")
    await first
    again = await asyncio.to_thread(front.post, "/api/v1/video/queue", json=body)
    assert again.headers.get("x-gateway-joined") == "true"
    assert purchases(simulator, "behind nginx") == 1


def _order_and_leave(front: httpx.Client, body: object) -> None:
    with pytest.raises(httpx.ReadTimeout):
        front.post("/api/v1/video/queue", json=body, timeout=0.5)


def test_a_link_to_a_video_works_through_nginx_in_ranges_and_is_not_logged(
    front: httpx.Client, gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = front.post("/api/v1/video/queue", json=order("a link")).json()
    deadline = time.monotonic() + START_SECONDS_MAX
    whole = front.post("/api/v1/video/retrieve", json=job, headers={"prefer": "wait=5"})
    while whole.headers["content-type"] != "video/mp4" and time.monotonic() < deadline:
        whole = front.post("/api/v1/video/retrieve", json=job, headers={"prefer": "wait=5"})
    link = front.post(f"/gateway/v1/jobs/{job['queue_id']}/links", json={}).json()["url"]
    path = link.removeprefix(gateway.url)
    part = front.get(path, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert front.get(path).content == whole.content
    log = next(Path(tmp_path_factory.getbasetemp()).glob("nginx*/access.log")).read_text()
    assert job["queue_id"] in log
    assert "/gateway/v1/media/" not in log
