"""A simulator in this process with a clock that only moves when told, and one in its own."""

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response

from gateway.simulator.app import create_app
from gateway.simulator.settings import DEFAULT_BILLING_KEY, SimulatorSettings
from tests.simulator_process import SimulatorProcess

NOON = 1_790_000_000.0
TEXT_MODEL = "wan-2.2-a14b-text-to-video"
PRIVATE_MODEL = "grok-imagine-text-to-video-private"
REFERENCE_MODEL = "seedance-2-0-reference-to-video-basic"
UPSCALE_MODEL = "topaz-video-upscale"
ORDER = {"model": TEXT_MODEL, "prompt": "a gondola", "duration": "5s", "resolution": "480p"}
PRIVATE_ORDER = {"model": PRIVATE_MODEL, "prompt": "a mask", "duration": "5s"}


class Venice:
    """A simulator in this process, seen through a client's eyes."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.now = NOON
        self._loop = asyncio.Runner()
        self._app = create_app(settings, lambda: self.now)
        transport = ASGITransport(self._app)
        self._client = AsyncClient(transport=transport, base_url="http://venice")

    def close(self) -> None:
        self._app.state.simulator.store.close()
        self._loop.close()

    def request(self, method: str, path: str, **options: Any) -> Response:
        """Any request, to any path of the origin."""
        return self._loop.run(self._client.request(method, path, **options))

    def post(self, path: str, body: Any, key: str = "an-inference-key") -> Response:
        return self.request("POST", f"/api/v1{path}", json=body, headers=_bearer(key))

    def get(self, path: str, key: str = "an-inference-key") -> Response:
        return self.request("GET", f"/api/v1{path}", headers=_bearer(key))

    def usage(self, query: str = "") -> Response:
        return self.get(f"/billing/usage-history{query}", DEFAULT_BILLING_KEY)

    def buy(self, **changes: Any) -> dict[str, Any]:
        """Queue an order and return the answer, which is also a body for retrieve."""
        answer = self.post("/video/queue", {**ORDER, **changes})
        assert answer.status_code == 200, answer.text
        bought: dict[str, Any] = answer.json()
        return bought

    def look(self, job: dict[str, Any], **more: Any) -> Response:
        """Retrieve a job."""
        return self.post("/video/retrieve", {**_names(job), **more})

    def complete(self, job: dict[str, Any]) -> Response:
        return self.post("/video/complete", _names(job))

    def wait(self, seconds: float = 3600) -> None:
        """Let time pass; the default is enough for any job."""
        self.now += seconds

    def fate(self, outcome: Any) -> None:
        """Decide what becomes of all jobs bought from now on."""
        self.faults([{"endpoint": "queue", "outcome": outcome}])

    def faults(self, rules: list[dict[str, Any]]) -> None:
        assert self.request("PUT", "/_faults", json=rules).status_code == 200

    def truth(self, since: int = 0) -> dict[str, Any]:
        truth: dict[str, Any] = self.request("GET", f"/_truth?since={since}").json()
        return truth

    def job_of(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the truth knows about one job."""
        return next(each for each in self.truth()["jobs"] if each["queue_id"] == job["queue_id"])


def exact(answer: Response) -> Any:
    """An answer's JSON with every digit of its numbers."""
    return json.loads(answer.text, parse_float=Decimal)


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _names(job: dict[str, Any]) -> dict[str, Any]:
    return {"model": job["model"], "queue_id": job["queue_id"]}


@pytest.fixture
def make_venice() -> Iterator[Callable[..., Venice]]:
    """Makes simulators with settings of the test's choice, all with seed 1."""
    made = []

    def make(**settings: Any) -> Venice:
        made.append(Venice(SimulatorSettings(**{"seed": 1, **settings})))
        return made[-1]

    yield make
    for venice in made:
        venice.close()


@pytest.fixture
def venice(make_venice: Callable[..., Venice]) -> Venice:
    return make_venice()


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    """A simulator over real HTTP, shared by a module; its jobs take no time to speak of."""
    with SimulatorProcess(speed=1_000_000, seed=1, no_limits=True) as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "simulator"
