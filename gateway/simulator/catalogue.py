"""The models on sale, read once from YAML; a malformed catalogue stops the start."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

PROMPT_CHARACTERS_DEFAULT = 2500  # Venice: "If not specified, the default is 2500 characters."

# PyYAML is built without its five times faster loader on some systems.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class ClipLimits:
    """Seconds allowed for one clip a request points at, and for all of them together."""

    clip_min: int
    clip_max: int
    total_max: int


@dataclass(frozen=True)
class PriceRule:
    """How a model is priced, in USD; which of the tables is set decides what is counted."""

    per_second: dict[str, Decimal]
    by_duration: dict[str, Decimal]
    upscale_per_second: dict[int, Decimal]
    audio_per_second: Decimal
    counts_reference: bool


@dataclass(frozen=True)
class VideoModel:
    """One video model: what it accepts, what it costs, how it delivers."""

    id: str
    listing: dict[str, Any]
    constraints: dict[str, Any]
    price: PriceRule
    average_execution_time_ms: int
    default_resolution: str | None
    clip_limits: ClipLimits | None
    is_private: bool
    is_offline: bool
    requires_prompt: bool
    consent: str | None
    deprecation: dict[str, Any] | None

    @property
    def is_upscale(self) -> bool:
        return bool(self.price.upscale_per_second)

    @property
    def prompt_characters_max(self) -> int:
        return int(self.constraints.get("prompt_character_limit", PROMPT_CHARACTERS_DEFAULT))

    def allowed(self, constraint: str) -> list[str]:
        """The values of ``aspect_ratios``, ``resolutions`` or ``durations``; empty: none at all."""
        return [str(value) for value in self.constraints[constraint]]

    def can(self, constraint: str) -> bool:
        """Whether a yes-or-no constraint such as ``video_input`` holds; absent means no."""
        return self.constraints.get(constraint) is True


@dataclass(frozen=True)
class Catalogue:
    """All models by id, and the listing of everything that is no video."""

    video: dict[str, VideoModel]
    others: list[dict[str, Any]]

    def listing(self, type_name: str) -> list[dict[str, Any]]:
        """``/models`` entries of one type, or of ``all``."""
        everything = [model.listing for model in self.video.values()] + self.others
        return [entry for entry in everything if type_name in ("all", entry["type"])]


def load_catalogue(path: Path) -> Catalogue:
    """Read a catalogue file; raises ValueError where it makes no sense."""
    document = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - a safe one
    try:
        models = [_model(entry) for entry in document["models"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a catalogue: {error!r}") from error
    return Catalogue({model.id: model for model in models}, document.get("others", []))


def _model(entry: dict[str, Any]) -> VideoModel:
    resolutions = entry["constraints"]["resolutions"]
    return VideoModel(
        id=entry["id"],
        listing=_listing(entry),
        constraints=entry["constraints"],
        price=_price(entry["price"]),
        average_execution_time_ms=entry["average_execution_time_ms"],
        default_resolution=entry.get("default_resolution", next(iter(resolutions), None)),
        clip_limits=_clip_limits(entry.get("reference_seconds") or entry.get("source_seconds")),
        is_private=entry.get("delivery") == "download_url",
        is_offline=entry.get("offline", False),
        requires_prompt=entry.get("prompt") != "optional",
        consent=entry.get("consent"),
        deprecation=entry.get("deprecation"),
    )


def _price(rule: dict[str, Any]) -> PriceRule:
    def table(name: str) -> dict[Any, Decimal]:
        return {key: Decimal(value) for key, value in rule.get(name, {}).items()}

    return PriceRule(
        per_second=table("per_second"),
        by_duration=table("by_duration"),
        upscale_per_second=table("upscale_per_second"),
        audio_per_second=Decimal(rule.get("audio_per_second", "0")),
        counts_reference=rule.get("reference", False),
    )


def _clip_limits(limits: dict[str, int] | None) -> ClipLimits | None:
    if limits is None:
        return None
    longest = limits["clip_max"]
    return ClipLimits(limits["clip_min"], longest, limits.get("total_max", longest))


def _listing(entry: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "name": entry["name"],
        "privacy": entry.get("privacy", "private"),
        "offline": entry.get("offline", False),
        "betaModel": False,
        "constraints": entry["constraints"],
        "traits": [],
    }
    if "deprecation" in entry:
        spec["deprecation"] = entry["deprecation"]
    return {
        "id": entry["id"],
        "object": "model",
        "owned_by": "venice.ai",
        "type": "video",
        "created": entry["created"],
        "model_spec": spec,
    }
