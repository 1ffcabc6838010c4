"""The four request bodies as the specification types them; rules of a model are not known here."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.simulator.issues import Issue

DURATIONS = (*(f"{seconds}s" for seconds in range(1, 31)), "-1", "1 gen", "auto", "Auto")
ASPECT_RATIOS = (
    "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "9:21", "16:9", "21:9",
    "adaptive", "auto",
)  # fmt: skip
RESOLUTIONS = (
    "256p", "360p", "480p", "540p", "580p", "720p", "1080p", "1440p", "2160p", "4k", "2x", "4x",
    "2K", "768P", "true_1080p",
)  # fmt: skip
TASK_TYPES = ("auto", "reference", "edit", "extend", "editing", "extension")


@dataclass(frozen=True)
class Field:
    """What one field may hold. ``item`` types the entries of an array."""

    kind: str
    required: bool = False
    options: tuple[Any, ...] = ()
    length_min: int = 0
    length_max: int | None = None
    item: "Field | None" = None


Fields = Mapping[str, Field]

_TEXT = Field("string")


def _urls(length_max: int) -> Field:
    return Field("array", length_max=length_max, item=_TEXT)


QUOTE: Fields = {
    "model": Field("string", required=True),
    "duration": Field("string", options=DURATIONS),
    "aspect_ratio": Field("string", options=ASPECT_RATIOS),
    "resolution": Field("string", options=RESOLUTIONS),
    "upscale_factor": Field("integer", options=(1, 2, 4)),
    "audio": Field("boolean"),
    "video_url": _TEXT,
    "reference_video_total_duration": Field("number"),
}
QUEUE: Fields = {
    "model": Field("string", required=True),
    "consents": Field("object"),
    "prompt": Field("string", length_min=1, length_max=20_000),
    "negative_prompt": Field("string", length_max=20_000),
    "duration": Field("string", required=True, options=DURATIONS),
    "aspect_ratio": Field("string", options=ASPECT_RATIOS),
    "omni_reference_task_type": Field("string", options=TASK_TYPES),
    "resolution": Field("string", options=RESOLUTIONS),
    "upscale_factor": Field("integer", options=(1, 2, 4)),
    "audio": Field("boolean"),
    "image_url": _TEXT,
    "end_image_url": _TEXT,
    "audio_url": _TEXT,
    "video_url": _TEXT,
    "reference_image_urls": _urls(30),
    "reference_video_urls": _urls(10),
    "reference_audio_urls": _urls(10),
    "reference_document_urls": _urls(1),
    "elements": Field("array", length_max=4, item=Field("object")),
    "scene_image_urls": _urls(4),
    "keyframes": Field("array", length_max=10, item=Field("object")),
}
COMPLETE: Fields = {
    "model": Field("string", required=True),
    "queue_id": Field("string", required=True),
}
RETRIEVE: Fields = {**COMPLETE, "delete_media_on_completion": Field("boolean")}


def check_fields(body: Mapping[str, Any], fields: Fields, *, is_closed: bool) -> list[Issue]:
    """Everything in ``body`` that its schema forbids; a closed one forbids unknown keys too."""
    issues = []
    for name, field in fields.items():
        if name in body:
            issues += _check_value((name,), body[name], field)
        elif field.required:
            issues.append(_wrong_type((name,), field.kind, "undefined", "Required"))
    unknown = sorted(set(body) - set(fields))
    if is_closed and unknown:
        message = f"Unrecognized key(s) in object: {', '.join(map(repr, unknown))}"
        issues.append(Issue((), "unrecognized_keys", message, {"keys": unknown}))
    return issues


def _check_value(path: tuple[str | int, ...], value: Any, field: Field) -> list[Issue]:
    received = _type_name(value)
    matches = received == field.kind or (field.kind == "number" and received == "integer")
    if not matches:
        return [_wrong_type(path, field.kind, received)]
    if field.options and value not in field.options:
        options = list(field.options)
        expected = " | ".join(repr(option) for option in options)
        message = f"Invalid enum value. Expected {expected}, received {value!r}"
        extra = {"received": value, "options": options}
        return [Issue(path, "invalid_enum_value", message, extra)]
    if field.kind == "number" and value < 0:
        message = "Number must be greater than or equal to 0"
        return [Issue(path, "too_small", message, {"minimum": 0, "type": "number"})]
    issues = _check_length(path, value, field)
    if field.item is not None:
        for index, entry in enumerate(value):
            issues += _check_value((*path, index), entry, field.item)
    return issues


def _check_length(path: tuple[str | int, ...], value: Any, field: Field) -> list[Issue]:
    if field.kind not in ("string", "array"):
        return []
    what = "character(s)" if field.kind == "string" else "element(s)"
    length = len(value)
    if length < field.length_min:
        message = f"{field.kind.title()} must contain at least {field.length_min} {what}"
        return [Issue(path, "too_small", message, {"minimum": field.length_min})]
    if field.length_max is not None and length > field.length_max:
        message = f"{field.kind.title()} must contain at most {field.length_max} {what}"
        return [Issue(path, "too_big", message, {"maximum": field.length_max})]
    return []


def _wrong_type(
    path: tuple[str | int, ...], expected: str, received: str, message: str | None = None
) -> Issue:
    text = message or f"Expected {expected}, received {received}"
    return Issue(path, "invalid_type", text, {"expected": expected, "received": received})


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", Decimal: "number", list: "array", dict: "object"}
    return names.get(type(value), "number")
