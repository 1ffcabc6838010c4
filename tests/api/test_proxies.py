"""Behind a proxy the log and the count of wrong keys go by the client, and no client can choose who
it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.visitors import FAILURES_PER_MINUTE
from tests.gateway_process import GatewayProcess
from tests.simulator_process import SimulatorProcess

CLIENT, OTHER = "203.0.113.7", "203.0.113.8"
WRONG = {"Authorization": "Bearer vgw_wrong"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=50, seed=1) as running:
        yield running


def started(folder: Path, simulator: SimulatorProcess, **settings: str) -> GatewayProcess:
    return GatewayProcess(folder, simulator, settings=settings)


def ask(http: httpx.Client, path: str, client: str, **headers: str) -> int:
    told = {"X-Forwarded-For": client, **WRONG, **headers}
    return http.get(path, headers=told).status_code


def clients(gateway: GatewayProcess) -> set[str]:
    """Who was there, but for the probes of this very test."""
    return {event["client"] for event in gateway.events("request") if event["door"] != "readyz"}


def test_a_trusted_proxy_says_who_is_there(tmp_path: Path, simulator: SimulatorProcess) -> None:
    with (
        started(tmp_path, simulator, VGW_TRUSTED_PROXIES="127.0.0.0/8, ::1") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as http,
    ):
        admin = (gateway.data_dir / "admin.key").read_text().strip()
        good = {"Authorization": f"Bearer {gateway.user_key}"}
        for _ in range(FAILURES_PER_MINUTE):
            assert ask(http, "/gateway/v1/me", f"1.2.3.4, {CLIENT}") == 401
        refused = http.get("/api/v1/models", headers={"X-Forwarded-For": CLIENT, **WRONG})
        assert refused.status_code == 429
        assert refused.json()["code"] == "RATE_LIMIT_EXCEEDED"
        assert int(refused.headers["retry-after"]) >= 1
        # A good key of somebody behind the same address is good; guessing at administration ends.
        assert ask(http, "/gateway/v1/me", CLIENT, **good) == 200
        key = {"Authorization": f"Bearer {admin}"}
        assert ask(http, "/gateway/v1/admin/users", CLIENT, **key) == 429
        assert ask(http, "/gateway/v1/admin/users", OTHER, **key) == 200
        assert ask(http, "/gateway/v1/me", OTHER) == 401
        assert clients(gateway) == {CLIENT, OTHER}
        (flood,) = gateway.events("authentication.flood")
        assert flood["client"] == CLIENT


def test_a_client_that_names_another_is_still_itself(
    tmp_path: Path, simulator: SimulatorProcess
) -> None:
    with (
        started(tmp_path, simulator) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as http,
    ):
        for number in range(5):
            spoofed = {"Forwarded": f"for={OTHER}", "X-Real-IP": OTHER}
            assert ask(http, "/gateway/v1/me", f"203.0.113.{number}", **spoofed) == 401
        assert clients(gateway) == {"127.0.0.1"}
