"""R7 for clients that send again: one job per intent, whatever happens on the way, also with nginx
in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway_process import GatewayProcess
from tests.missing import missing
from tests.nginx_proxy import PROGRAM, nginx_before
from tests.promises.asking import Client, order, purchases, settled_down
from tests.promises.books import assert_books_balance
from tests.promises.storms import STORMS, storm
from tests.simulator_process import SimulatorProcess

IMPATIENT_SECONDS = (1.2, 1.2, 30, 30)
"""How long this client waits for each answer before it sends its order again."""


@pytest.fixture(params=["straight", "through nginx"])
def url(
    request: pytest.FixtureRequest, shared_gateway: GatewayProcess, tmp_path: Path
) -> Iterator[str]:
    if request.param == "straight":
        yield shared_gateway.url
        return
    if PROGRAM is None:
        missing("nginx is not installed: an order through it is NOT tested")
    with nginx_before(shared_gateway.port, tmp_path / "nginx") as found:
        yield found


async def _send_until_answered(url: str, key: str, body: object) -> httpx.Response | None:
    """As the most stubborn real client, on 5xx, broken connections and its own timeout."""
    answer: httpx.Response | None = None
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        for seconds in IMPATIENT_SECONDS:
            try:
                answer = await client.post("/api/v1/video/queue", json=body, timeout=seconds)
            except httpx.TransportError:
                continue
            if answer.status_code < 500:
                return answer
    return answer


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.torture)])
@pytest.mark.parametrize("kind", STORMS)
@pytest.mark.timeout(1200)
async def test_a_client_that_sends_again_buys_one_job(
    gateway: GatewayProcess, simulator: SimulatorProcess, url: str, kind: str, rounds: int
) -> None:
    for turn in range(rounds):
        prompt = f"{kind} {turn} {url}"
        async with Client(gateway) as other:
            # Somebody else's success before each: failures in a row would open the breaker.
            await other.buy(f"well {prompt}")
        async with storm(gateway, simulator, kind):
            last = await _send_until_answered(url, gateway.user_key, order(prompt))
        if last is None or last.status_code >= 500:
            # It has no answer yet, so it comes back when the storm is over.
            last = await _send_until_answered(url, gateway.user_key, order(prompt))
        assert last is not None
        assert last.status_code in (200, 409), last.text
        assert purchases(simulator, prompt) == 1
    await settled_down(gateway)
    assert_books_balance(gateway)
