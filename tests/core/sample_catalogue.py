"""A small catalogue with the constraints of real models, in the shape of Venice's `/models`."""

from __future__ import annotations

from typing import Any

from gateway.core.catalogue import Catalogue, read_catalogue

WIDE = ["16:9", "9:16", "1:1"]
TEXT, IMAGE, UPSCALER, REFERENCE, SILENT, SPEAKING, OFFLINE = (
    "wan-2.5-preview-text-to-video",
    "wan-2.5-preview-image-to-video",
    "topaz-video-upscale",
    "seedance-2-0-reference-to-video-basic",
    "wan-2.2-a14b-text-to-video",
    "grok-imagine-text-to-video-private",
    "longcat-text-to-video",
)


def _constraints(
    model_type: str,
    ratios: list[str],
    resolutions: list[str],
    durations: list[str],
    sound: tuple[bool, bool],
    **more: Any,
) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "aspect_ratios": ratios,
        "resolutions": resolutions,
        "durations": durations,
        "audio": sound[0],
        "audio_configurable": sound[1],
        **more,
    }


SIZES = ["480p", "720p", "1080p"]
MODELS: dict[str, dict[str, Any]] = {
    TEXT: _constraints(
        "text-to-video", WIDE, SIZES, ["5s", "10s"], (True, True),
        audio_input=True, prompt_character_limit=2_500,
    ),
    IMAGE: _constraints(
        "image-to-video", [], SIZES, ["5s", "10s"], (True, True),
        audio_input=True, video_input=False, prompt_character_limit=2_000,
    ),
    UPSCALER: _constraints("video", [], [], ["Auto"], (False, False), video_input=True),
    REFERENCE: _constraints(
        "video", [*WIDE, "adaptive"], SIZES, ["5s", "10s", "15s", "auto"], (True, True),
        video_input=True,
    ),
    SILENT: _constraints(
        "text-to-video", WIDE, ["720p", "580p", "480p"], ["5s"], (False, False)
    ),
    SPEAKING: _constraints(
        "text-to-video", WIDE, ["480p", "720p"], ["5s", "10s", "15s"], (True, False)
    ),
    OFFLINE: _constraints("text-to-video", ["16:9"], ["720p"], ["5s", "30s"], (False, False)),
}  # fmt: skip


def sample_document() -> dict[str, Any]:
    """The answer to `/models?type=video`."""
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "type": "video",
                "model_spec": {"constraints": constraints, "offline": name == OFFLINE},
            }
            for name, constraints in MODELS.items()
        ],
    }


def sample_catalogue() -> Catalogue:
    """The same, read."""
    return read_catalogue(sample_document())
