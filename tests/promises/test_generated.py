"""R30: whatever is sent, no error is unhandled and every error has the promised shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway_process import GatewayProcess
from tests.promises.asking import MODEL, PRIVATE_MODEL, problems, settled_down
from tests.promises.books import assert_books_balance

EXAMPLES = 300

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
    "queue_id": _text | _value,
    "delete_media_on_completion": st.booleans() | _value,
}
_bodies = st.fixed_dictionaries({}, optional=_FIELDS) | st.dictionaries(_text, _value, max_size=4)
_doors = st.sampled_from(["quote", "queue", "retrieve", "complete"])


@pytest.fixture(scope="module")
def http(shared_gateway: GatewayProcess) -> Iterator[httpx.Client]:
    headers = {
        "authorization": f"Bearer {shared_gateway.keys['carla']}",
        "content-type": "application/json",
    }
    with httpx.Client(
        base_url=shared_gateway.url, headers=headers, timeout=60, trust_env=False
    ) as client:
        yield client


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(door=_doors, body=_bodies)
def test_no_generated_request_finds_an_unhandled_error(
    http: httpx.Client, door: str, body: dict[str, Any]
) -> None:
    """R30: over the fields of Venice's four endpoints."""
    answer = http.post(f"/api/v1/video/{door}", content=json.dumps(body))
    assert answer.status_code < 500 or answer.json()["code"] != "INTERNAL_ERROR"
    if answer.status_code >= 400:
        assert problems(answer) == []


async def test_after_all_that_the_books_balance(gateway: GatewayProcess) -> None:
    await settled_down(gateway, 60)
    assert_books_balance(gateway)
    assert gateway.events("request.failed") == []
