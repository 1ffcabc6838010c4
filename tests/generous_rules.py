"""Policies for tests: none that limit, and any section put over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GENEROUS: Mapping[str, Any] = {
    "version": 1,
    "organization": {"timezone": "UTC"},
    "venice": {
        "queue_per_minute": 10_000,
        "retrieve_per_minute": 10_000,
        "failures_per_30s": 10_000,
    },
    "videos": {"free_disk": "1MiB"},
    "policies": {
        "default": {
            "job": {"usd": "any"},
            "rate": {
                "requests_per_minute": 100_000,
                "polls_per_minute": 1_000_000,
                "queue_per_minute": 100_000,
                "active_jobs": 10_000,
            },
        }
    },
}
"""No limits, and a gate that never closes: for promises that are about something else."""


def with_rules(**sections: Any) -> dict[str, Any]:
    """The generous policies with these sections put over them, map by map."""
    merged = _merged(GENEROUS, sections)
    assert isinstance(merged, dict)
    return merged


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {
        name: _merged(below[name], above[name])
        if name in below and name in above
        else above.get(name, below.get(name))
        for name in {**below, **above}
    }
