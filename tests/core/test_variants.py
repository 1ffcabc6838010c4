"""The cheapest form of an order: what may be changed, and what must stay."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.catalogue import ModelFacts
from gateway.core.policy import JobRules
from gateway.core.variants import cheapest_changes

MODEL = ModelFacts(
    "wan",
    durations=("10s", "5s", "15s", "auto"),
    resolutions=("1080p", "480p", "720p", "4k"),
    audio=True,
    audio_configurable=True,
)
UPSCALER = ModelFacts("topaz-video-upscale", durations=("Auto",), resolutions=(), audio=False)
SILENT = ModelFacts("plain", durations=("5s",), resolutions=(), audio=False)


@pytest.mark.parametrize(
    ("body", "model", "rules", "changes"),
    [
        (
            {"duration": "15s", "resolution": "1080p"},
            MODEL,
            {},
            {"duration": "5s", "resolution": "480p", "audio": False},
        ),
        ({"duration": "5s", "resolution": "480p", "audio": False}, MODEL, {}, {}),
        ({"duration": "5s", "resolution": "480p"}, MODEL, {}, {"audio": False}),
        ({"duration": "5s", "audio": False}, MODEL, {}, {"resolution": "480p"}),
        (
            {"duration": "15s", "resolution": "4k", "audio": False},
            MODEL,
            {"seconds": [10, 15], "resolutions": ["720p", "1080p"]},
            {"duration": "10s", "resolution": "720p"},
        ),
        (
            {"duration": "15s", "resolution": "480p", "audio": False},
            MODEL,
            {"seconds": 10},
            {"duration": "5s"},
        ),
        (
            {"duration": "auto", "resolution": "480p", "audio": False},
            MODEL,
            {},
            {"duration": "5s"},
        ),
        ({"duration": "-1"}, SILENT, {"seconds": [7]}, {}),
        ({"duration": "5s"}, SILENT, {}, {}),
        ({"upscale_factor": 4}, UPSCALER, {}, {"upscale_factor": 1}),
        ({}, UPSCALER, {}, {"upscale_factor": 1}),
        ({"upscale_factor": 1}, UPSCALER, {}, {}),
    ],
)
def test_only_what_makes_it_cheaper_and_is_allowed_changes(
    body: dict[str, Any], model: ModelFacts, rules: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert cheapest_changes(body, model, JobRules.model_validate(rules)) == changes
