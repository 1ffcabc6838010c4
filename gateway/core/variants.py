"""The cheapest form of an order: the shortest, smallest, silent one that model and policy allow.

Prices grow with seconds, pixels and sound, so the least of each is the cheapest there is; what it
costs is for Venice to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.core.catalogue import ModelFacts
from gateway.core.policy import JobRules
from gateway.core.pricing import SOURCE_LENGTHS, UPSCALE_FACTOR_DEFAULT, seconds_of

UPSCALE_LEAST = 1
"""Better, but no larger (Venice's OpenAPI file, `upscale_factor`)."""
UNKNOWN_SECONDS = 2**31
"""Of a source: whether a form of fewer is cheaper is for its quote to say."""
_LINES = re.compile(r"(?:true_)?([0-9]{3,4})[pP]")
_NAMED_LINES = {"2K": 1440, "4k": 2160}


def cheapest_changes(body: Mapping[str, Any], model: ModelFacts, rules: JobRules) -> dict[str, Any]:
    """What to change in a checked queue body to make it as cheap as can be; empty for nothing."""
    changes: dict[str, Any] = {}
    if (duration := _shortest(body.get("duration"), model, rules)) is not None:
        changes["duration"] = duration
    if (resolution := _smallest(body.get("resolution"), model, rules)) is not None:
        changes["resolution"] = resolution
    if model.audio_configurable and body.get("audio", True):
        changes["audio"] = False
    if model.is_upscaler and body.get("upscale_factor", UPSCALE_FACTOR_DEFAULT) > UPSCALE_LEAST:
        changes["upscale_factor"] = UPSCALE_LEAST
    return changes


def _shortest(duration: str | None, model: ModelFacts, rules: JobRules) -> str | None:
    """The shortest duration that is allowed and shorter than this one, or instead of a source's."""
    now = UNKNOWN_SECONDS if duration in SOURCE_LENGTHS else seconds_of(duration)
    choices = [(s, d) for d in model.durations or () if (s := seconds_of(d)) is not None]
    allowed = [(s, d) for s, d in choices if _is_allowed(s, rules)]
    if not allowed or now is None:
        return None
    seconds, shortest = min(allowed)
    return shortest if seconds < now else None


def _is_allowed(seconds: int, rules: JobRules) -> bool:
    if rules.seconds == "any":
        return True
    if isinstance(rules.seconds, int):
        return seconds <= rules.seconds
    return seconds in rules.seconds


def _smallest(resolution: str | None, model: ModelFacts, rules: JobRules) -> str | None:
    """The smallest resolution that is allowed and not larger than the one asked for."""
    allowed = [
        (count, name)
        for name in model.resolutions or ()
        if (count := _lines(name)) is not None
        and (rules.resolutions == "any" or name in rules.resolutions)
    ]
    if not allowed:
        return None
    smallest_lines, smallest = min(allowed)
    asked = None if resolution is None else _lines(resolution)
    if smallest == resolution or (asked is not None and asked <= smallest_lines):
        return None
    return smallest


def _lines(resolution: str) -> int | None:
    """Picture lines, by which resolutions are compared; None where the name does not tell."""
    match = _LINES.fullmatch(resolution)
    return int(match[1]) if match else _NAMED_LINES.get(resolution)
