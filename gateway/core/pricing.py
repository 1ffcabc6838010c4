"""The pricing inputs of a job, derived from its queue body alone, never from what a client claims.

What the body leaves out takes Venice's defaults; what nobody can know beforehand takes the worst
case, so that a reservation is never smaller than the bill.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.core.catalogue import ModelFacts
from gateway.core.money import Money, NotAnAmount
from gateway.core.mp4 import BrokenVideo, duration_seconds

UPSCALE_FACTOR_DEFAULT = 2
"""Venice's default (its OpenAPI file, `upscale_factor`)."""
SOURCE_LENGTHS = frozenset({"-1", "auto", "Auto"})
"""Durations that mean: as long as the source."""
_SECONDS = re.compile(r"([0-9]{1,3})s")


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What policy and price need to know of an order."""

    model: str
    seconds: int | None
    """None where the length is the source's."""
    resolution: str | None
    has_audio: bool
    quote_body: Mapping[str, Any]
    """The body for `/video/quote`."""

    @property
    def quote_key(self) -> str:
        """The canonical text of the pricing inputs: equal texts have equal prices."""
        return json.dumps(self.quote_body, sort_keys=True, separators=(",", ":"), default=str)


def seconds_of(duration: str | None) -> int | None:
    """The seconds a duration names; None for the source's own length."""
    match = _SECONDS.fullmatch(duration or "")
    return int(match[1]) if match else None


def job_facts(
    body: Mapping[str, Any], model: ModelFacts, *, reference_seconds_worst: int
) -> JobFacts:
    """The facts of a checked queue body.

    `reference_seconds_worst` stands for all references together where one of them cannot be
    measured here.
    """
    inputs: dict[str, Any] = {"model": model.id}
    for name in ("duration", "resolution", "aspect_ratio", "audio", "video_url"):
        if name in body:
            inputs[name] = body[name]
    if "duration" not in inputs and model.durations:
        inputs["duration"] = model.durations[0]
    if model.audio_configurable:
        inputs.setdefault("audio", True)
    if model.is_upscaler:
        inputs["upscale_factor"] = body.get("upscale_factor", UPSCALE_FACTOR_DEFAULT)
    references = reference_urls(body)
    if references:
        total = _reference_seconds(references, reference_seconds_worst)
        inputs["reference_video_total_duration"] = total
    return JobFacts(
        model=model.id,
        seconds=seconds_of(inputs.get("duration")),
        resolution=inputs.get("resolution") or _only(model.resolutions),
        has_audio=bool(inputs.get("audio", model.audio)),
        quote_body=inputs,
    )


def _only(choices: tuple[str, ...] | None) -> str | None:
    return choices[0] if choices and len(choices) == 1 else None


def reference_urls(body: Mapping[str, Any]) -> list[str]:
    """The reference videos of a checked queue body, wherever it names them."""
    urls = list(body.get("reference_video_urls", ()))
    urls += [e["video_url"] for e in body.get("elements", ()) if e.get("video_url")]
    return urls


def _reference_seconds(urls: list[str], worst: int) -> int:
    """Whole seconds of all references, rounded up."""
    known = [_measured(url) for url in urls]
    total = math.ceil(sum((seconds for seconds in known if seconds), Fraction(0)))
    return total if all(known) else max(total, worst)


def _measured(url: str) -> Fraction | None:
    """The length of a video inside a data URL (RFC 2397); None where it cannot be known here."""
    if not url.startswith("data:"):
        return None
    header, _, payload = url.partition(",")
    try:
        content = (
            base64.b64decode(payload, validate=True)
            if header.endswith(";base64")
            else unquote_to_bytes(payload)
        )
        return duration_seconds(lambda at, length: content[at : at + length], len(content))
    except (binascii.Error, ValueError, BrokenVideo):
        return None


def read_quote(answer: object, *, may_be_free: bool) -> Money:
    """The price in Venice's answer, rounded up to the micro-dollar; `NotAnAmount` if untrustworthy.

    A zero is a reported mistake of Venice's, so it counts only for a model named as free.
    """
    quote = answer.get("quote") if isinstance(answer, Mapping) else None
    if isinstance(quote, bool) or not isinstance(quote, int | Decimal):
        raise NotAnAmount("the answer holds no quote")
    price = Money.from_decimal(Decimal(quote))
    if quote < 0 or (not price and not may_be_free):
        raise NotAnAmount(f"a quote of {price} is no price")
    return price


def has_drifted(before: Money, now: Money, percent: int) -> bool:
    """Whether a price is another than before by more than so many percent of what it was."""
    return abs(now.micros - before.micros) * 100 > before.micros * percent
