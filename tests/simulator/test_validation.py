"""What Venice refuses, and the shape of its refusals."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.simulator.settings import SimulatorSettings
from tests.simulator.conftest import ORDER, REFERENCE_MODEL, UPSCALE_MODEL, Venice

IMAGE_MODEL = "wan-2.5-preview-image-to-video"
AUDIO_MODEL = "wan-2.5-preview-text-to-video"
SOURCE = {"video_url": "https://example.com/a.mp4"}
UPSCALE = {"model": UPSCALE_MODEL, "duration": "Auto", **SOURCE}


def order(**changes: Any) -> dict[str, Any]:
    return {**ORDER, **changes}


def without(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


BAD_ORDERS = [
    (order(model="no-such-model"), "model"),
    (order(model=ORDER["model"].upper()), "model"),
    (order(model="hunyuan-1.5-text-to-video"), "model"),
    (order(model=7), "model"),
    (without("model", ORDER), "model"),
    (without("prompt", ORDER), "prompt"),
    (order(prompt=""), "prompt"),
    (order(prompt="x" * 2501), "prompt"),
    (order(model="wan-2.1-text-to-video", prompt="x" * 1001), "prompt"),
    (without("duration", ORDER), "duration"),
    (order(duration="10s"), "duration"),
    (order(duration="0s"), "duration"),
    (order(duration=5), "duration"),
    (order(resolution="1080p"), "resolution"),
    (order(resolution="480P"), "resolution"),
    (order(aspect_ratio="21:9"), "aspect_ratio"),
    (order(audio=True), "audio"),
    (order(audio="yes"), "audio"),
    (order(upscale_factor=2), "upscale_factor"),
    (order(**SOURCE), "video_url"),
    (order(audio_url="https://example.com/a.mp3"), "audio_url"),
    (order(model=IMAGE_MODEL), "image_url"),
    (order(model=IMAGE_MODEL, image_url="https://a/b.png", aspect_ratio="16:9"), "aspect_ratio"),
    (order(model="kling-2.5-turbo-pro-text-to-video"), "resolution"),
    (order(reference_image_urls=["https://a/b.png"] * 31), "reference_image_urls"),
    (order(reference_image_urls="https://a/b.png"), "reference_image_urls"),
    ({**UPSCALE, "resolution": "1080p"}, "resolution"),
    ({**UPSCALE, "upscale_factor": 3}, "upscale_factor"),
    (without("video_url", UPSCALE), "video_url"),
    ({**UPSCALE, "video_url": "data:video/mp4;base64,AAAA"}, "video_url"),
    (order(model=REFERENCE_MODEL, aspect_ratio="adaptive"), "reference_video_urls"),
    (
        order(model=REFERENCE_MODEL, reference_video_urls=["data:video/mp4;base64,AA"]),
        "reference_video_urls",
    ),
]


@pytest.fixture(scope="module")
def unlimited() -> Iterator[Venice]:
    """A simulator that bears any number of refusals."""
    venice = Venice(SimulatorSettings(seed=1, limits_enabled=False))
    yield venice
    venice.close()


@pytest.mark.parametrize(("body", "field"), BAD_ORDERS)
def test_a_bad_order_is_refused_by_field_and_buys_nothing(
    unlimited: Venice, body: dict[str, Any], field: str
) -> None:
    answer = unlimited.post("/video/queue", body)
    assert answer.status_code == 400
    error = answer.json()
    assert isinstance(error["error"], str)
    assert field in error["details"]
    assert all(set(issue) >= {"code", "path", "message"} for issue in error["issues"])
    assert error["issues"][0]["path"][0] == field
    assert unlimited.truth()["jobs"] == []


def test_several_issues_come_together(venice: Venice) -> None:
    error = venice.post("/video/queue", {"audio": "yes"}).json()
    paths = {issue["path"][0] for issue in error["issues"]}
    assert paths == {"model", "duration", "audio"}


def test_what_queue_does_not_know_is_ignored(venice: Venice) -> None:
    venice.buy(price=0, reference_video_total_duration=0)


@pytest.mark.parametrize("path", ["/video/retrieve", "/video/complete"])
def test_retrieve_and_complete_refuse_what_they_do_not_know(venice: Venice, path: str) -> None:
    job = venice.buy()
    answer = venice.post(path, {**job, "wait": 5})
    assert answer.status_code == 400
    assert answer.json()["issues"][0]["code"] == "unrecognized_keys"


@pytest.mark.parametrize("path", ["quote", "queue", "retrieve", "complete"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"NaN", b"[" * 200_000, b"\xff\xfe"])
def test_a_body_that_is_no_object_is_a_400(unlimited: Venice, path: str, body: bytes) -> None:
    headers = {"authorization": "Bearer k", "content-type": "application/json"}
    answer = unlimited.request("POST", f"/api/v1/video/{path}", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["issues"]


def test_a_quote_may_leave_out_the_only_duration(venice: Venice) -> None:
    assert venice.post("/video/quote", {"model": "ovi-image-to-video"}).json() == {"quote": 0.22}
    missing = venice.post("/video/quote", {"model": "longcat-text-to-video"})
    assert "duration" in missing.json()["details"]


def test_a_source_matched_quote_needs_the_reference_seconds(venice: Venice) -> None:
    body = {"model": REFERENCE_MODEL, "duration": "auto"}
    assert venice.post("/video/quote", body).status_code == 400
    told = {**body, "reference_video_total_duration": 4}
    assert venice.post("/video/quote", told).status_code == 200


def test_faces_need_consent_and_cost_nothing_before(venice: Venice) -> None:
    body = order(model=REFERENCE_MODEL, image_url="https://example.com/face.png")
    refused = venice.post("/video/queue", body)
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "needs_consent"
    assert refused.json()["face_media_roles"] == ["image"]
    assert venice.truth()["charged_usd"] == "0.000000"
    flags = ("terms_and_privacy", "legal_right", "screening_acknowledged")
    consent = {"seedance": {f"confirmed_{flag}": True for flag in flags}}
    assert venice.post("/video/queue", {**body, "consents": consent}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer "}, {"authorization": "Basic x"}]
)
def test_without_a_key_nothing_is_answered(venice: Venice, headers: dict[str, str]) -> None:
    answer = venice.request("POST", "/api/v1/video/queue", json=ORDER, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"error": "Authentication failed"}


def test_errors_of_the_server_are_json_too(venice: Venice) -> None:
    assert venice.get("/video/nothing").json() == {"error": "Not Found"}
    assert venice.get("/video/queue").status_code == 405
