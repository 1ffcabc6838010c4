"""What Venice publishes of a key's limits becomes calls a minute, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.published import orders_per_minute, stated_per_minute

NOW = 1_790_000_000.0


def published(*models: tuple[str, list[tuple[Any, str]]]) -> dict[str, Any]:
    """The answer of `/api_keys/rate_limits`, as far as it matters here."""
    limits = [
        {"apiModelId": name, "rateLimits": [{"amount": a, "type": kind} for a, kind in told]}
        for name, told in models
    ]
    return {"data": {"accessPermitted": True, "rateLimits": limits}}


def is_video(model: str) -> bool:
    return model.startswith("video")


@pytest.mark.parametrize(
    ("document", "orders"),
    [
        (published(("video-a", [(60, "RPM")])), 60),
        (published(("video-a", [(60, "RPM")]), ("video-b", [(50, "RPM")])), 50),
        (published(("video-a", [(7, "RPD"), (60, "RPM"), (9, "TPM")])), 60),
        (published(("chat", [(5, "RPM")])), None),
        (published(("video-a", [(7, "RPD")])), None),
        (published(("video-a", [(0, "RPM"), (-1, "RPM"), (True, "RPM"), (10**9, "RPM")])), None),
        (published(("video-a", [(39.5, "RPM"), (None, "RPM"), ("many", "RPM")])), None),
        (published(), None),
        ({"data": {"rateLimits": {"video-a": 40}}}, None),
        ({"data": {"rateLimits": [None, 5, {"apiModelId": 7}, {"rateLimits": []}]}}, None),
        ({"data": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_orders_are_the_least_a_minute_of_the_video_models(
    document: object, orders: int | None
) -> None:
    assert orders_per_minute(document, is_video) == orders


@pytest.mark.parametrize(
    ("limit", "reset", "calls"),
    [
        ("40", str(int((NOW + 12) * 1000)), 40),
        ("40", str(int(NOW + 60)), 40),
        ("40", "12", 40),
        ("10000", str(int(NOW + 3_600)), None),
        ("40", str(int(NOW - 5)), None),
        ("40", "253402300799", None),
        ("40", "soon", 40),
        ("0", "12", None),
        ("-3", "12", None),
        ("4e1", "12", None),
        ("\u0664\u0660", "12", None),
        ("9999999", "12", None),
        (None, "12", None),
        ("40", None, None),
    ],
)
def test_headers_state_calls_a_minute_only_where_their_window_is_a_minute(
    limit: str | None, reset: str | None, calls: int | None
) -> None:
    given = {"x-ratelimit-limit-requests": limit, "x-ratelimit-reset-requests": reset}
    headers = {name: text for name, text in given.items() if text is not None}
    assert stated_per_minute(headers, NOW) == calls
