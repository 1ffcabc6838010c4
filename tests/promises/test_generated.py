"""R30: whatever is sent, no error is unhandled and every error has the promised shape."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess, with_rules
from tests.promises.asking import MODEL, PRIVATE_MODEL, problems, settled_down
from tests.promises.books import assert_books_balance
from tests.simulator_process import SimulatorProcess

EXAMPLES = 300
PARTS, EXAMPLES_AT_LENGTH = 10, 3_000
"""Of the 50,000; tests/api/test_openapi.py asks the others. In parts, for a library that remembers
all it has tried."""
KNOWN = "the last job that was taken"

_text = st.text(max_size=20)
_scalar = st.none() | st.booleans() | st.integers() | st.floats() | _text
_value = st.recursive(_scalar, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from([MODEL, PRIVATE_MODEL, "topaz-video-upscale"]) | _value,
    "prompt": _text | _value,
    "negative_prompt": _text | _value,
    "duration": st.sampled_from(["5s", "10s", "auto", "-1"]) | _value,
    "resolution": st.sampled_from(["480p", "720p"]) | _value,
    "aspect_ratio": st.sampled_from(["16:9", "9:16"]) | _value,
    "audio": st.booleans() | _value,
    "upscale_factor": st.sampled_from([1, 2, 4]) | _value,
    "image_url": st.just("https://example.org/a.png") | _value,
    "video_url": st.just("https://example.org/a.mp4") | _value,
    "reference_image_urls": st.lists(st.just("https://example.org/a.png"), max_size=3) | _value,
    "reference_video_urls": st.lists(st.just("https://example.org/a.mp4"), max_size=3) | _value,
    "consents": _value,
    "queue_id": st.just(KNOWN) | _text | _value,
    "delete_media_on_completion": st.booleans() | _value,
}
_bodies = st.fixed_dictionaries({}, optional=_FIELDS) | st.dictionaries(_text, _value, max_size=4)
_plausible = st.fixed_dictionaries(
    {"model": st.just(MODEL), "prompt": _text, "duration": st.just("5s")},
    optional={"resolution": st.just("480p"), "queue_id": st.just(KNOWN)},
)
"""Bodies of which many are taken, so that what comes after an order is asked about as well."""
_doors = st.sampled_from(["quote", "queue", "retrieve", "complete"])
PROMISED = {
    "quote": {"quote"},
    "queue": {"model", "queue_id"},
    "retrieve": {"status"},
    "complete": {"success"},
}
"""What Venice's documentation says of the answers that are no video."""


class Asked:
    """A gateway of its own, what it must never tell, and the last job that it took."""

    def __init__(self, gateway: GatewayProcess, http: httpx.Client) -> None:
        self.gateway = gateway
        self.http = http
        self.queue_id = "none"
        self.statuses: Counter[tuple[str, int]] = Counter()
        admin_key = (gateway.data_dir / "admin.key").read_text().strip()
        self.secrets = (ORGANIZATION_KEY, gateway.user_key, admin_key, "Traceback")

    def ask(self, door: str, body: dict[str, Any]) -> None:
        """Ask a door, and hold its answer to all that is promised."""
        if body.get("queue_id") == KNOWN:
            body = {**body, "queue_id": self.queue_id}
        answer = self.http.post(f"/api/v1/video/{door}", content=json.dumps(body))
        self.statuses[door, answer.status_code] += 1
        assert answer.status_code < 500, answer.text
        assert self.found_in(answer.content + str(answer.headers).encode()) == []
        if answer.status_code >= 400:
            assert problems(answer) == []
        elif answer.headers["content-type"] != "video/mp4":
            assert answer.json().keys() >= PROMISED[door]
            self.queue_id = answer.json().get("queue_id", self.queue_id)

    def found_in(self, data: bytes) -> list[str]:
        """What must be nowhere."""
        return [secret for secret in self.secrets if secret.encode() in data]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """With a stand-in of its own: thousands of jobs would be in the way of other promises."""
    folder = tmp_path_factory.mktemp("generated")
    rules = with_rules(videos={"on_complete": "keep"}, quotes={"fresh": "1s"})
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(folder, simulator, policies=rules) as gateway,
        httpx.Client(
            base_url=gateway.url,
            headers={
                "authorization": f"Bearer {gateway.user_key}",
                "content-type": "application/json",
            },
            timeout=60,
            trust_env=False,
        ) as http,
    ):
        yield Asked(gateway, http)


@pytest.mark.parametrize(
    "examples",
    [
        EXAMPLES,
        *(
            pytest.param(EXAMPLES_AT_LENGTH, marks=pytest.mark.torture, id=f"length{part}")
            for part in range(PARTS)
        ),
    ],
)
def test_no_generated_request_finds_an_unhandled_error(asked: Asked, examples: int) -> None:
    """R30: over the fields of Venice's four endpoints; the rest is in tests/api/test_openapi.py."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(door=_doors, body=_bodies | _plausible)
    def each(door: str, body: dict[str, Any]) -> None:
        asked.ask(door, body)

    each()
    print(f"{asked.statuses.total()} requests: {sorted(asked.statuses.items())}")
    assert asked.statuses.total() >= examples


@pytest.mark.torture
async def test_at_length_the_books_balance_as_well(asked: Asked) -> None:
    await _assert_all_is_well(asked)


async def test_after_all_that_the_books_balance(asked: Asked) -> None:
    await _assert_all_is_well(asked)


async def _assert_all_is_well(asked: Asked) -> None:
    await settled_down(asked.gateway, 120)
    assert_books_balance(asked.gateway)
    assert asked.gateway.events("request.failed") == []
    assert asked.found_in(asked.gateway.log().encode()) == []
