"""What Venice would refuse is refused here first, and what it never asked for is not sent on."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalogue import read_catalogue
from gateway.core.errors import InvalidRequest
from gateway.core.strictjson import parse_object
from gateway.core.validation import (
    DURATIONS,
    QUEUE_FIELDS,
    check_queue_body,
    check_quote_body,
)
from tests.core.sample_catalogue import (
    IMAGE,
    MODELS,
    OFFLINE,
    REFERENCE,
    SILENT,
    SPEAKING,
    TEXT,
    UPSCALER,
    sample_catalogue,
    sample_document,
)

CATALOGUE = sample_catalogue()
PICTURE = "data:image/png;base64,iVBORw0KGgo="
VIDEO = "https://example.org/a.mp4"
GOOD: dict[str, dict[str, Any]] = {
    TEXT: {"prompt": "a fox", "duration": "5s", "resolution": "720p", "aspect_ratio": "16:9"},
    IMAGE: {"prompt": "a fox", "duration": "5s", "image_url": PICTURE, "audio": False},
    UPSCALER: {"video_url": VIDEO, "upscale_factor": 4, "duration": "Auto"},
    REFERENCE: {
        "prompt": "a fox",
        "duration": "auto",
        "aspect_ratio": "adaptive",
        "reference_video_urls": [VIDEO],
        "elements": [{"frontal_image_url": PICTURE, "video_url": VIDEO}],
    },
    SILENT: {"prompt": "a fox", "duration": "5s"},
    SPEAKING: {"prompt": "a fox", "duration": "15s"},
}


def order(model: str, /, **changes: Any) -> dict[str, Any]:
    """A good body for a model, changed."""
    return {"model": model, **GOOD.get(model, GOOD[TEXT]), **changes}


def short(value: object) -> str:
    """A value as part of a test's name."""
    text = repr(value)
    return text if len(text) < 50 else f"{text[:20]}-{len(text)}"


def refused(body: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a queue body, by field."""
    with pytest.raises(InvalidRequest) as caught:
        check_queue_body(body, CATALOGUE)
    return {".".join(map(str, issue.path)): issue.message for issue in caught.value.issues}


@pytest.mark.parametrize("model", GOOD)
def test_a_good_order_passes_unchanged(model: str) -> None:
    body = order(model)
    assert check_queue_body(body, CATALOGUE) == (body, CATALOGUE.models[model])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", ""),
        ("model", 5),
        ("model", ["wan"]),
        ("model", "../../etc/passwd"),
        ("model", "wan\r\nX-Evil: 1"),
        ("model", "w" * 10_240),
        ("model", TEXT.upper()),
        ("model", OFFLINE),
        ("prompt", None),
        ("prompt", ""),
        ("prompt", "  \n"),
        ("prompt", 5),
        ("prompt", "x" * 2_501),
        ("prompt", "x" * 20_001),
        ("negative_prompt", "x" * 2_501),
        ("duration", None),
        ("duration", "0s"),
        ("duration", "-5s"),
        ("duration", "5"),
        ("duration", 5),
        ("duration", "15s"),
        ("duration", "31s"),
        ("duration", ["5s"]),
        ("resolution", "4k"),
        ("resolution", "720P"),
        ("resolution", 720),
        ("aspect_ratio", "16:10"),
        ("aspect_ratio", "adaptive"),
        ("audio", "true"),
        ("audio", 1),
        ("upscale_factor", 2),
        ("upscale_factor", True),
        ("image_url", ""),
        ("image_url", {"url": PICTURE}),
        ("reference_image_urls", PICTURE),
        ("reference_image_urls", [PICTURE] * 31),
        ("reference_image_urls", [None]),
        ("reference_video_urls", [VIDEO] * 11),
        ("reference_document_urls", [VIDEO] * 2),
        ("scene_image_urls", [PICTURE] * 5),
        ("elements", [{}] * 5),
        ("elements", ["x"]),
        ("elements", [{"reference_image_urls": [PICTURE] * 4}]),
        ("elements", [{"video_url": 5}]),
        ("keyframes", [{"image_url": PICTURE, "frame_index": 0}] * 11),
        ("keyframes", [{"image_url": PICTURE}]),
        ("keyframes", [{"image_url": PICTURE, "frame_index": -1}]),
        ("keyframes", [{"image_url": PICTURE, "frame_index": Decimal("1.5")}]),
        ("keyframes", [{"image_url": PICTURE, "frame_index": True}]),
        ("omni_reference_task_type", "steal"),
        ("consents", "yes"),
    ],
    ids=short,
)
def test_a_bad_field_is_refused_by_its_name(field: str, value: Any) -> None:
    assert field in refused(order(TEXT, **{field: value}))


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (IMAGE, "aspect_ratio", "16:9"),
        (IMAGE, "video_url", VIDEO),
        (IMAGE, "prompt", "x" * 2_001),
        (IMAGE, "image_url", None),
        (UPSCALER, "resolution", "4k"),
        (UPSCALER, "video_url", None),
        (UPSCALER, "upscale_factor", 3),
        (UPSCALER, "duration", "auto"),
        (SILENT, "audio", True),
        (SILENT, "audio", False),
        (SPEAKING, "audio", False),
        (SILENT, "duration", "10s"),
        (SILENT, "resolution", "1080p"),
        (REFERENCE, "duration", "-1"),
    ],
    ids=short,
)
def test_a_models_own_constraints_are_kept(model: str, field: str, value: Any) -> None:
    assert list(refused(order(model, **{field: value}))) == [field]


def test_every_issue_is_named_at_once() -> None:
    body = order(TEXT, prompt="", duration="5", audio="yes", resolution="8k")
    assert set(refused(body)) == {"prompt", "duration", "audio", "resolution"}


def test_an_unknown_model_is_named_beside_what_else_is_wrong() -> None:
    assert set(refused(order("no-such-model", prompt=""))) == {"model", "prompt"}


def test_what_the_answer_repeats_of_a_request_is_short() -> None:
    for field in QUEUE_FIELDS:
        for message in refused(order(TEXT, **{field: "x" * 100_000, "prompt": ""})).values():
            assert len(message) < 1_000


def test_a_model_without_a_choice_says_so() -> None:
    assert "takes no aspect_ratio" in refused(order(IMAGE, aspect_ratio="16:9"))["aspect_ratio"]


@pytest.mark.parametrize(
    "field",
    ["quote", "price", "reference_video_total_duration", "api_base", "user", "callback", "stream"],
)
def test_a_field_nobody_knows_is_never_sent_on(field: str) -> None:
    body, _ = check_queue_body(order(TEXT, **{field: 0}), CATALOGUE)
    assert field not in body


def test_unknown_fields_inside_of_lists_are_never_sent_on() -> None:
    element = {"video_url": VIDEO, "callback": "http://169.254.169.254/"}
    keyframe = {"image_url": PICTURE, "frame_index": 0, "price": 0}
    body, _ = check_queue_body(
        order(REFERENCE, elements=[element], keyframes=[keyframe]), CATALOGUE
    )
    assert body["elements"] == [{"video_url": VIDEO}]
    assert body["keyframes"] == [{"image_url": PICTURE, "frame_index": 0}]


def test_consents_are_passed_on_as_they_are() -> None:
    consents = {"seedance": {"confirmed_terms_and_privacy": True}}
    body, _ = check_queue_body(order(REFERENCE, consents=consents), CATALOGUE)
    assert body["consents"] == consents


def test_a_null_counts_as_left_out() -> None:
    body, _ = check_queue_body(order(TEXT, resolution=None, audio=None), CATALOGUE)
    assert not {"resolution", "audio"} & set(body)


def test_an_image_model_takes_its_picture_from_anywhere() -> None:
    for name in ("reference_image_urls", "scene_image_urls"):
        check_queue_body(order(IMAGE, image_url=None, **{name: [PICTURE]}), CATALOGUE)


def test_an_upscaler_needs_neither_prompt_nor_duration() -> None:
    body, _ = check_queue_body({"model": UPSCALER, "video_url": VIDEO}, CATALOGUE)
    assert body == {"model": UPSCALER, "video_url": VIDEO, "duration": "Auto"}


@pytest.mark.parametrize(
    "body",
    [
        {"model": TEXT},
        {"model": TEXT, "duration": "5s", "prompt": "extra keys are what real clients send"},
        {"model": REFERENCE, "duration": "10s", "reference_video_total_duration": Decimal("12.5")},
        {"model": UPSCALER, "video_url": VIDEO, "upscale_factor": 2},
    ],
)
def test_a_quote_may_leave_things_out(body: dict[str, Any]) -> None:
    checked = check_quote_body(body, CATALOGUE)
    assert checked == {name: value for name, value in body.items() if name != "prompt"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "no-such-model"},
        {"model": TEXT, "duration": "15s"},
        {"model": TEXT, "reference_video_total_duration": -1},
        {"model": TEXT, "reference_video_total_duration": "12"},
        {"model": SILENT, "audio": True},
    ],
)
def test_a_bad_quote_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        check_quote_body(body, CATALOGUE)


def test_what_the_catalogue_does_not_say_is_left_to_venice() -> None:
    silent = read_catalogue({"data": [{"id": "new-model", "model_spec": {}}]})
    body = {"model": "new-model", "prompt": "a fox", "duration": "7s", "resolution": "4k"}
    assert check_queue_body(body, silent)[0] == body


def test_one_unreadable_entry_does_not_close_the_other_models() -> None:
    document = sample_document()
    odd: list[Any] = [None, {"id": 5}, {"id": "a", "model_spec": "x"}, {"id": "b", "type": "image"}]
    odd.append({"id": "c", "model_spec": {"constraints": {"prompt_character_limit": "many"}}})
    document["data"] = odd + document["data"]
    assert set(read_catalogue(document).models) == set(MODELS)


@pytest.mark.parametrize("document", [None, [], {}, {"data": None}, {"data": "models"}, "models"])
def test_an_answer_that_lists_no_models_is_no_catalogue(document: object) -> None:
    with pytest.raises(ValueError, match="no list of models"):
        read_catalogue(document)


names = st.text(max_size=5)
plain = (
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=9)
)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(sorted(MODELS)),
    st.dictionaries(
        st.sampled_from(sorted(QUEUE_FIELDS)) | st.text(max_size=5), anything, max_size=5
    ),
)
def test_no_body_does_more_than_be_refused(model: str, changes: dict[str, Any]) -> None:
    with suppress(InvalidRequest):
        known, _ = check_queue_body({**order(model), **changes}, CATALOGUE)
        assert set(known) <= set(QUEUE_FIELDS)


@given(st.sampled_from(sorted(DURATIONS)), st.sampled_from(sorted(GOOD)))
def test_a_duration_passes_if_and_only_if_the_model_has_it(duration: str, model: str) -> None:
    body = parse_object(json.dumps(order(model, duration=duration)).encode())
    if duration in MODELS[model]["durations"]:
        check_queue_body(body, CATALOGUE)
    else:
        assert list(refused(body)) == ["duration"]
