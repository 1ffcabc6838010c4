"""The way out is what the environment says, but never a proxy for this machine itself."""

from __future__ import annotations

import pytest

from gateway.upstream.egress import egress_proxy


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.example/", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example/", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://a.example/", {"ALL_PROXY": "http://p:2"}, "http://p:2"),
        ("https://a.example/", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://a.example/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example"}, None),
        ("https://x.a.example/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".a.example"}, None),
        ("https://a.example/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://localhost/", {"HTTPS_PROXY": "http://p:1"}, None),
        ("http://127.0.0.9:80/", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://[::1]/", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://a.example/", {}, None),
    ],
)
def test_the_way_out_is_the_environments(
    url: str,
    environment: dict[str, str],
    proxy: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert egress_proxy(url) == proxy
