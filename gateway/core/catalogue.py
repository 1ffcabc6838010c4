"""What Venice's catalogue says of each video model, as far as orders are checked against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROMPT_CHARACTERS_DEFAULT = 2_500
"""Venice's limit where a model states none (its OpenAPI file, `prompt_character_limit`)."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One video model: what it accepts, and whether it is there.

    An empty tuple means that the model has no such choice, so naming one is an error; None means
    that the catalogue is silent, so Venice decides.
    """

    id: str
    model_type: str = "video"
    durations: tuple[str, ...] | None = None
    resolutions: tuple[str, ...] | None = None
    aspect_ratios: tuple[str, ...] | None = None
    audio: bool = False
    audio_configurable: bool = False
    video_input: bool | None = None
    audio_input: bool | None = None
    prompt_characters_max: int = PROMPT_CHARACTERS_DEFAULT
    offline: bool = False
    deprecated_on: str | None = None

    @property
    def is_upscaler(self) -> bool:
        """Whether it makes a video larger instead of making one."""
        return "upscale" in self.id


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models there are, and Venice's own text of them."""

    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


def _texts(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list):
        return tuple(item for item in value if isinstance(item, str))
    return None


def _claim(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _facts(entry: Mapping[str, Any]) -> ModelFacts:
    spec = entry.get("model_spec") or {}
    constraints = spec.get("constraints") or {}
    limit = constraints.get("prompt_character_limit", spec.get("prompt_character_limit"))
    deprecation = spec.get("deprecation") or {}
    return ModelFacts(
        id=str(entry["id"]),
        model_type=str(constraints.get("model_type", "video")),
        durations=_texts(constraints.get("durations")),
        resolutions=_texts(constraints.get("resolutions")),
        aspect_ratios=_texts(constraints.get("aspect_ratios")),
        audio=constraints.get("audio") is True,
        audio_configurable=constraints.get("audio_configurable") is True,
        video_input=_claim(constraints.get("video_input")),
        audio_input=_claim(constraints.get("audio_input")),
        prompt_characters_max=int(limit) if limit else PROMPT_CHARACTERS_DEFAULT,
        offline=spec.get("offline") is True,
        deprecated_on=str(deprecation["date"]) if deprecation.get("date") else None,
    )


def read_catalogue(document: object) -> Catalogue:
    """Venice's `/models` answer as facts; `ValueError` where it is not one.

    An entry that cannot be read is left out: one odd model must not close the others.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("data"), list):
        raise ValueError("the answer to /models is no list of models")
    models: dict[str, ModelFacts] = {}
    for entry in document["data"]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
            continue
        if entry.get("type", "video") != "video":
            continue
        try:
            models[entry["id"]] = _facts(entry)
        except (AttributeError, TypeError, ValueError, OverflowError):
            continue
    return Catalogue(models, document)
