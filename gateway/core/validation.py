"""Whether a request body is one Venice would take, checked here so that nothing is asked for it.

The schema is Venice's QueueVideoRequest and QuoteVideoRequest; the model's own constraints come
from the catalogue. Unknown fields are dropped: never trusted, never forwarded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from gateway.core.catalogue import Catalogue, ModelFacts
from gateway.core.errors import InvalidRequest, Issue

MODEL_CHARACTERS_MAX = 128
PROMPT_CHARACTERS_MAX = 20_000
URL_CHARACTERS_MAX = 64 * 2**20
"""A data URL may be as large as the body; the body has a limit of its own."""

SECONDS = tuple(f"{n}s" for n in range(1, 31))
DURATIONS = frozenset((*SECONDS, "-1", "1 gen", "auto", "Auto"))
ASPECT_RATIOS = frozenset("1:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 9:21 16:9 21:9 adaptive auto".split())
RESOLUTIONS = frozenset(
    "256p 360p 480p 540p 580p 720p 1080p 1440p 2160p 4k 2x 4x 2K 768P true_1080p".split()
)
TASK_TYPES = frozenset("auto reference edit extend editing extension".split())

Check = Callable[[Any], str | None]


def _text(longest: int, shortest: int = 0) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"Expected string, received {_kind(value)}"
        if len(value) < shortest or (shortest and not value.strip()):
            return f"String must contain at least {shortest} character(s)"
        if len(value) > longest:
            return f"String must contain at most {longest} character(s)"
        return None

    return check


def _one_of(values: frozenset[Any]) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, str | int) and not isinstance(value, bool) and value in values:
            return None
        shown = " | ".join(f"'{v}'" for v in sorted(values, key=_by_number))
        return f"Invalid enum value. Expected {shown}"

    return check


def _by_number(value: Any) -> tuple[int, str]:
    digits = "".join(c for c in str(value) if c.isdigit())
    return (int(digits or 0), str(value))


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"Expected boolean, received {_kind(value)}"


def _number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return f"Expected number, received {_kind(value)}"
    return "Number must be greater than or equal to 0" if value < 0 else None


def _whole_number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"Expected integer, received {_kind(value)}"
    return _number(value)


def _list_of(item: Check, longest: int) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"Expected array, received {_kind(value)}"
        if len(value) > longest:
            return f"Array must contain at most {longest} element(s)"
        return next((f"Element {i}: {w}" for i, v in enumerate(value) if (w := item(v))), None)

    return check


def _object_of(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return f"Expected object, received {_kind(value)}"
        for name in required:
            if name not in value:
                return f"{name} is required"
        for name, test in fields.items():
            if name in value and (wrong := test(value[name])):
                return f"{name}: {wrong}"
        return None

    return check


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "number", Decimal: "number", str: "string", list: "array"}
    return "null" if value is None else kinds.get(type(value), "object")


_URL = _text(URL_CHARACTERS_MAX, 1)

PRICED_FIELDS: dict[str, Check] = {
    "model": _text(MODEL_CHARACTERS_MAX, 1),
    "duration": _one_of(DURATIONS),
    "aspect_ratio": _one_of(ASPECT_RATIOS),
    "resolution": _one_of(RESOLUTIONS),
    "upscale_factor": _one_of(frozenset({1, 2, 4})),
    "audio": _boolean,
    "video_url": _URL,
}

QUOTE_FIELDS: dict[str, Check] = {**PRICED_FIELDS, "reference_video_total_duration": _number}

ELEMENT_FIELDS: dict[str, Check] = {
    "frontal_image_url": _URL,
    "reference_image_urls": _list_of(_URL, 3),
    "video_url": _URL,
}

KEYFRAME_FIELDS: dict[str, Check] = {"image_url": _URL, "frame_index": _whole_number}

QUEUE_FIELDS: dict[str, Check] = {
    **PRICED_FIELDS,
    "consents": _object_of({}),
    "prompt": _text(PROMPT_CHARACTERS_MAX, 1),
    "negative_prompt": _text(PROMPT_CHARACTERS_MAX),
    "omni_reference_task_type": _one_of(TASK_TYPES),
    "image_url": _URL,
    "end_image_url": _URL,
    "audio_url": _URL,
    "reference_image_urls": _list_of(_URL, 30),
    "reference_video_urls": _list_of(_URL, 10),
    "reference_audio_urls": _list_of(_URL, 10),
    "reference_document_urls": _list_of(_URL, 1),
    "elements": _list_of(_object_of(ELEMENT_FIELDS), 4),
    "scene_image_urls": _list_of(_URL, 4),
    "keyframes": _list_of(_object_of(KEYFRAME_FIELDS, tuple(KEYFRAME_FIELDS)), 10),
}

PARTS = {"elements": ELEMENT_FIELDS, "keyframes": KEYFRAME_FIELDS}
"""Lists of objects, whose unknown fields are dropped like those of the body itself."""

PICTURES = (
    "image_url end_image_url reference_image_urls scene_image_urls elements keyframes".split()
)
"""Where an image-to-video model may get its picture from."""


def _checked(
    body: Mapping[str, Any], fields: Mapping[str, Check]
) -> tuple[dict[str, Any], list[Issue]]:
    """The known fields of a body, and what is wrong with them. A null counts as left out."""
    known = {name: body[name] for name in fields if body.get(name) is not None}
    issues = [
        Issue((name,), wrong, "invalid_type")
        for name, v in known.items()
        if (wrong := fields[name](v))
    ]
    return known, issues


def _sound(known: Mapping[str, Any], issues: list[Issue]) -> dict[str, Any]:
    """The fields with nothing wrong so far: the others are not looked at, or shown, again."""
    wrong = {issue.path[0] for issue in issues}
    return {name: value for name, value in known.items() if name not in wrong}


def _missing(body: Mapping[str, Any], *names: str) -> list[Issue]:
    return [Issue((name,), "Required", "invalid_type") for name in names if name not in body]


def check_queue_body(
    body: Mapping[str, Any], catalogue: Catalogue
) -> tuple[dict[str, Any], ModelFacts]:
    """The fields to send to `/video/queue` and the model; `InvalidRequest` with every issue."""
    known, issues = _checked(body, QUEUE_FIELDS)
    issues += _missing(known, "model")
    model = _model(known, catalogue, issues)
    if model.is_upscaler and model.durations:
        # The schema asks for a duration, but an upscaled video is as long as its source.
        known.setdefault("duration", model.durations[0])
    issues += _missing(known, *(("video_url",) if model.is_upscaler else ("prompt", "duration")))
    sound = _sound(known, issues)
    issues += _against_model(sound, model) + _inputs_against_model(sound, model)
    if issues:
        raise InvalidRequest(issues)
    for name, fields in PARTS.items():
        if name in known:
            known[name] = [{n: part[n] for n in fields if n in part} for part in known[name]]
    return known, model


def check_quote_body(body: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The fields to send to `/video/quote`; `InvalidRequest` with every issue.

    A quote may come without a duration: real clients leave it out, and Venice answers.
    """
    known, issues = _checked(body, QUOTE_FIELDS)
    issues += _missing(known, "model")
    model = _model(known, catalogue, issues)
    issues += _against_model(_sound(known, issues), model)
    if issues:
        raise InvalidRequest(issues)
    return known


def _model(known: Mapping[str, Any], catalogue: Catalogue, issues: list[Issue]) -> ModelFacts:
    """The model a body names; `InvalidRequest` at once where there is no such model to check by."""
    name = known.get("model")
    if any(issue.path == ("model",) for issue in issues):
        raise InvalidRequest(issues)
    facts = catalogue.models.get(str(name))
    if facts is None:
        raise InvalidRequest(
            [*issues, Issue(("model",), f"Unknown video model {name!r}. GET /models lists them.")]
        )
    if facts.offline:
        raise InvalidRequest(
            [*issues, Issue(("model",), f"The model {facts.id} is offline at Venice at present.")]
        )
    return facts


def _against_model(known: Mapping[str, Any], model: ModelFacts) -> list[Issue]:
    issues = []
    for name, allowed in (
        ("duration", model.durations),
        ("resolution", model.resolutions),
        ("aspect_ratio", model.aspect_ratios),
    ):
        if name in known and allowed is not None and known[name] not in allowed:
            issues.append(Issue((name,), _not_allowed(name, known[name], model, allowed)))
    if "audio" in known and not model.audio_configurable:
        issues.append(
            Issue(("audio",), f"{model.id} does not let audio be switched; leave it out.")
        )
    if "upscale_factor" in known and not model.is_upscaler:
        issues.append(Issue(("upscale_factor",), f"{model.id} takes no upscale_factor."))
    return issues


def _inputs_against_model(known: Mapping[str, Any], model: ModelFacts) -> list[Issue]:
    """Prompts and media of a queue body, where the catalogue leaves no doubt."""
    issues = []
    longest = model.prompt_characters_max
    for name in ("prompt", "negative_prompt"):
        if len(known.get(name, "")) > longest:
            wrong = f"String must contain at most {longest} character(s) for {model.id}"
            issues.append(Issue((name,), wrong, "too_big"))
    for name, ability in (
        ("video_url", model.video_input),
        ("reference_video_urls", model.video_input),
        ("audio_url", model.audio_input),
    ):
        if name in known and ability is False:
            issues.append(Issue((name,), f"{model.id} takes no {name}; leave it out."))
    if model.model_type == "image-to-video" and not any(known.get(name) for name in PICTURES):
        issues.append(Issue(("image_url",), f"{model.id} needs a picture.", "invalid_type"))
    return issues


def _not_allowed(name: str, value: Any, model: ModelFacts, allowed: tuple[str, ...]) -> str:
    if not allowed:
        return f"{model.id} takes no {name}; leave it out."
    return f"{model.id} does not allow {value!r}. Expected {' | '.join(allowed)}"
