"""A job is priced by what its queue body says, and what that hides is taken at its worst."""

from __future__ import annotations

import base64
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import Money, NotAnAmount
from gateway.core.pricing import JobFacts, job_facts, read_quote, seconds_of
from gateway.core.strictjson import parse
from tests.core.sample_catalogue import (
    IMAGE,
    REFERENCE,
    SILENT,
    SPEAKING,
    TEXT,
    UPSCALER,
    sample_catalogue,
)

CATALOGUE = sample_catalogue()
LINK = "https://example.org/a.mp4"
WORST = 150


def facts(model: str, worst: int = WORST, **body: Any) -> JobFacts:
    return job_facts(
        {"model": model, **body}, CATALOGUE.models[model], reference_seconds_worst=worst
    )


def clip(milliseconds: int) -> str:
    """A data URL with an mp4 that says how long it plays."""
    mvhd = struct.pack(">I4s5I", 108, b"mvhd", 0, 0, 0, 1_000, milliseconds) + bytes(80)
    moov = struct.pack(">I4s", 8 + len(mvhd), b"moov") + mvhd
    return "data:video/mp4;base64," + base64.b64encode(moov).decode()


def reference_seconds(**body: Any) -> object:
    return facts(REFERENCE, duration="5s", **body).quote_body.get("reference_video_total_duration")


def test_only_what_has_a_price_is_asked_about() -> None:
    body = facts(
        TEXT, prompt="a fox", duration="5s", resolution="720p", image_url=LINK, audio=False
    ).quote_body
    assert body == {"model": TEXT, "duration": "5s", "resolution": "720p", "audio": False}


def test_sound_is_priced_where_it_is_not_switched_off() -> None:
    assert facts(TEXT, duration="5s").quote_body["audio"] is True
    assert "audio" not in facts(SPEAKING, duration="5s").quote_body


@pytest.mark.parametrize(
    ("model", "body", "has_audio"),
    [
        (TEXT, {}, True),
        (TEXT, {"audio": False}, False),
        (SPEAKING, {}, True),
        (SILENT, {}, False),
        (IMAGE, {"audio": True}, True),
    ],
    ids=str,
)
def test_a_job_has_sound_unless_its_model_or_order_is_silent(
    model: str, body: dict[str, Any], has_audio: bool
) -> None:
    assert facts(model, duration="5s", **body).has_audio is has_audio


def test_a_resolution_with_no_alternative_is_known() -> None:
    assert facts(TEXT, duration="5s").resolution is None
    assert facts(TEXT, duration="5s", resolution="480p").resolution == "480p"
    only = CATALOGUE.models["longcat-text-to-video"]
    body = {"model": only.id, "duration": "5s"}
    assert job_facts(body, only, reference_seconds_worst=WORST).resolution == "720p"


def test_an_upscaler_is_priced_by_its_source_and_its_factor() -> None:
    body = facts(UPSCALER, video_url=LINK).quote_body
    assert body == {"model": UPSCALER, "duration": "Auto", "video_url": LINK, "upscale_factor": 2}
    assert facts(UPSCALER, video_url=LINK, upscale_factor=4).quote_body["upscale_factor"] == 4


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("5s", 5), ("30s", 30), ("auto", None), ("-1", None), ("1 gen", None), (None, None)],
)
def test_a_duration_names_its_seconds(duration: str | None, seconds: int | None) -> None:
    assert seconds_of(duration) == seconds


def test_without_references_none_are_priced() -> None:
    assert reference_seconds() is None
    assert reference_seconds(reference_video_urls=[]) is None
    assert reference_seconds(elements=[{"frontal_image_url": LINK}]) is None


def test_references_that_can_be_measured_are_priced_by_their_length_rounded_up() -> None:
    assert reference_seconds(reference_video_urls=[clip(5_000)]) == 5
    assert reference_seconds(reference_video_urls=[clip(5_001)]) == 6
    assert reference_seconds(reference_video_urls=[clip(2_600), clip(2_600)]) == 6


def test_a_reference_inside_of_an_element_counts() -> None:
    elements = [{"video_url": clip(4_000)}, {"frontal_image_url": LINK}]
    assert reference_seconds(elements=elements, reference_video_urls=[clip(3_000)]) == 7


@pytest.mark.parametrize(
    "url",
    [
        LINK,
        "data:video/mp4;base64,AAAA",
        "data:video/mp4;base64,%%%",
        "data:video/mp4,plain",
        "data:video/mp4;base64",
        "data:video/webm;base64," + base64.b64encode(b"\x1a\x45\xdf\xa3" * 9).decode(),
        "DATA:video/mp4;base64,AAAA",
        "data:video/mp4,\ud800",
        clip(0),
    ],
    ids=repr,
)
def test_one_reference_that_cannot_be_measured_makes_all_of_them_the_worst(url: str) -> None:
    assert reference_seconds(reference_video_urls=[clip(5_000), url]) == WORST


def test_known_references_longer_than_the_worst_are_not_cut_to_it() -> None:
    assert reference_seconds(reference_video_urls=[clip(200_000), LINK]) == 200


def test_the_policy_may_say_how_long_unknown_references_are() -> None:
    body = {"duration": "5s", "reference_video_urls": [LINK]}
    assert facts(REFERENCE, 15, **body).quote_body["reference_video_total_duration"] == 15


def test_a_clients_own_price_inputs_change_nothing() -> None:
    honest = facts(REFERENCE, duration="5s", reference_video_urls=[LINK])
    tricked = facts(
        REFERENCE,
        duration="5s",
        reference_video_urls=[LINK],
        reference_video_total_duration=0,
        quote=0,
        price=0,
    )
    assert tricked == honest


@given(st.permutations(["duration", "resolution", "aspect_ratio", "audio"]))
def test_equal_inputs_have_one_price_whatever_their_order(names: list[str]) -> None:
    values: dict[str, Any] = {
        "duration": "5s",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "audio": True,
    }
    key = facts(TEXT, **{name: values[name] for name in names}).quote_key
    assert key == facts(TEXT, **values).quote_key
    assert key != facts(TEXT, **{**values, "duration": "10s"}).quote_key


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        (b'{"quote": 0.085}', 85_000),
        (b'{"quote": 0.1}', 100_000),
        (b'{"quote": 1e-7}', 1),
        (b'{"quote": 3}', 3_000_000),
        (b'{"quote": 0.28, "more": "fields"}', 280_000),
    ],
)
def test_a_quote_is_read_from_its_text_and_rounded_up(text: bytes, micros: int) -> None:
    assert read_quote(parse(text), may_be_free=False) == Money(micros)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "0.085",
        {},
        {"quote": None},
        {"quote": "0.085"},
        {"quote": True},
        {"quote": {"usd": 1}},
        {"quote": -1},
        {"quote": Decimal("-1e-9")},
        {"quote": Decimal("NaN")},
        {"quote": Decimal("Infinity")},
        {"quote": 10**12},
        {"price": 1},
    ],
    ids=repr,
)
def test_an_answer_without_a_trustworthy_price_is_no_quote(answer: object) -> None:
    for may_be_free in (False, True):
        with pytest.raises(NotAnAmount):
            read_quote(answer, may_be_free=may_be_free)


@pytest.mark.parametrize("zero", [0, Decimal(0), Decimal("0.000")], ids=repr)
def test_a_quote_of_zero_counts_only_for_a_model_named_as_free(zero: int | Decimal) -> None:
    assert read_quote({"quote": zero}, may_be_free=True) == Money(0)
    with pytest.raises(NotAnAmount):
        read_quote({"quote": zero}, may_be_free=False)
