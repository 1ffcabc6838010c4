"""Prices: quotes believe what they are told, charges follow what is really made."""

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from gateway.simulator.video import simulated_video
from tests.simulator.conftest import ORDER, REFERENCE_MODEL, UPSCALE_MODEL, Venice, exact

CAPTURED = [
    ("wan-2.2-a14b-text-to-video", {"resolution": "480p", "duration": "5s"}, "0.06"),
    ("wan-2.5-preview-text-to-video", {"resolution": "480p", "duration": "5s"}, "0.28"),
    ("wan-2.5-preview-image-to-video", {"resolution": "480p", "duration": "5s"}, "0.28"),
    ("longcat-distilled-text-to-video", {"resolution": "720p", "duration": "5s"}, "0.09"),
    ("longcat-text-to-video", {"resolution": "720p", "duration": "5s"}, "0.25"),
    ("ovi-image-to-video", {"duration": "5s"}, "0.22"),
    ("kling-2.5-turbo-pro-text-to-video", {"duration": "5s"}, "0.39"),
    ("kling-2.6-pro-text-to-video", {"duration": "5s", "audio": True}, "0.77"),
    ("wan-2.1-pro-image-to-video", {"duration": "6s"}, "0.88"),
]
REFERENCE_ORDER = {**ORDER, "model": REFERENCE_MODEL}
UPSCALE_ORDER = {"model": UPSCALE_MODEL, "duration": "Auto"}


def quoted(venice: Venice, **body: Any) -> Decimal:
    answer = venice.post("/video/quote", body)
    assert answer.status_code == 200, answer.text
    price: Decimal = exact(answer)["quote"]
    return Decimal(price)


def charged(venice: Venice, **body: Any) -> Decimal:
    answer = venice.post("/video/queue", body)
    assert answer.status_code == 200, answer.text
    return Decimal(venice.job_of(answer.json())["charged_usd"])


def data_url(seconds: str) -> str:
    video = simulated_video("a clip", Decimal(seconds), "1:1", 0, is_placeholder=True)
    return "data:video/mp4;base64," + base64.b64encode(video.to_bytes()).decode()


@pytest.mark.parametrize(("model", "body", "usd"), CAPTURED)
def test_captured_quotes_are_reproduced_exactly(
    venice: Venice, model: str, body: dict[str, Any], usd: str
) -> None:
    assert venice.post("/video/quote", {"model": model, **body}).text == f'{{"quote":{usd}}}'


@pytest.mark.parametrize(("model", "body", "usd"), CAPTURED)
def test_a_plain_order_is_charged_as_quoted(
    venice: Venice, model: str, body: dict[str, Any], usd: str
) -> None:
    order = {"model": model, "prompt": "a gondola", "image_url": "https://example.com/a.png"}
    assert charged(venice, **order, **body) == Decimal(usd)


def test_awkward_decimals_keep_their_digits(venice: Venice) -> None:
    quote = {"model": "wan-2.2-a14b-text-to-video", "duration": "5s", "resolution": "580p"}
    assert venice.post("/video/quote", quote).text == '{"quote":0.085}'
    quote = {"model": REFERENCE_MODEL, "duration": "5s", "resolution": "480p"}
    assert venice.post("/video/quote", quote).text == '{"quote":0.3561725}'


def test_charges_are_whole_micro_dollars_rounded_up(venice: Venice) -> None:
    assert charged(venice, **REFERENCE_ORDER) == Decimal("0.356173")


def test_audio_costs_extra_where_it_can_be_chosen(venice: Venice) -> None:
    body = {"model": "kling-2.6-pro-text-to-video", "duration": "10s"}
    assert quoted(venice, **body) == quoted(venice, **body, audio=True)
    assert quoted(venice, **body, audio=False) < quoted(venice, **body)


def test_a_quote_without_reference_seconds_is_too_cheap(venice: Venice) -> None:
    quote = {"model": REFERENCE_MODEL, "duration": "5s", "resolution": "480p"}
    reference = {"reference_video_urls": ["https://example.com/dance.mp4"]}
    true_charge = charged(venice, **REFERENCE_ORDER, **reference)
    assert quoted(venice, **quote) < true_charge
    assert true_charge <= quoted(venice, **quote, reference_video_total_duration=15)


def test_reference_seconds_are_read_from_the_mp4_itself(venice: Venice) -> None:
    quote = {"model": REFERENCE_MODEL, "duration": "5s", "resolution": "480p"}
    honest = quoted(venice, **quote, reference_video_total_duration=6.5)
    reference = {"reference_video_urls": [data_url("2.5"), data_url("4")]}
    assert charged(venice, **REFERENCE_ORDER, **reference) == honest.quantize(Decimal("0.000001"))


def test_web_references_never_pass_the_models_limit(venice: Venice) -> None:
    quote = {"model": REFERENCE_MODEL, "duration": "5s", "resolution": "480p"}
    most = quoted(venice, **quote, reference_video_total_duration=15)
    urls = [f"https://example.com/{number}.mp4" for number in range(10)]
    assert charged(venice, **REFERENCE_ORDER, reference_video_urls=urls) == most


def test_source_matched_duration_is_billed_by_the_source(venice: Venice) -> None:
    order = {**REFERENCE_ORDER, "duration": "auto", "reference_video_urls": [data_url("4")]}
    assert charged(venice, **order) == Decimal("0.0712345") * 8
    assert venice.post("/video/queue", {**REFERENCE_ORDER, "duration": "auto"}).status_code == 400


def test_upscaling_is_billed_by_the_real_source_and_factor(venice: Venice) -> None:
    order = {**UPSCALE_ORDER, "video_url": data_url("12")}
    assert charged(venice, **order) == Decimal("0.0107") * 12
    assert charged(venice, **order, upscale_factor=4) == Decimal("0.08333") * 12


def test_an_upscale_quote_and_its_order_see_the_same_web_source(venice: Venice) -> None:
    order = {**UPSCALE_ORDER, "video_url": "https://example.com/long.mp4", "upscale_factor": 1}
    quote = quoted(venice, **order)
    assert quote <= charged(venice, **order) < quote + Decimal("0.000001")


def test_a_job_beyond_the_balance_is_refused_and_free(make_venice: Callable[..., Venice]) -> None:
    venice = make_venice(balance_usd=Decimal("0.10"))
    venice.buy()
    refused = venice.post("/video/queue", ORDER)
    assert (refused.status_code, refused.json()["code"]) == (402, "INSUFFICIENT_BALANCE")
    assert venice.truth()["charged_usd"] == "0.060000"
