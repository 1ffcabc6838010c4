"""What each answer of Venice's amounts to, without a network."""

from __future__ import annotations

import pytest

from gateway.core.retry import Outcome
from gateway.upstream.answers import (
    HEADERS_MAX,
    is_file,
    is_mp4,
    kept_headers,
    promised_bytes,
    read_answer,
)

NOW = 1_790_000_000.0
ERROR = b'{"error": "no"}'
ORDINARY = {
    "x-ratelimit-limit-requests": "40",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": str(int((NOW + 12) * 1000)),
}
BLOCK = {"x-ratelimit-remaining": "0", "x-ratelimit-resets": "30"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome"),
    [
        (200, {}, b'{"quote": 0.085}', Outcome.OK),
        (200, {}, b"<html>", Outcome.NONSENSE),
        (200, {}, b"", Outcome.NONSENSE),
        (200, {}, b"null", Outcome.NONSENSE),
        (200, {}, b"[1]", Outcome.NONSENSE),
        (200, {}, b'{"a": 1, "a": 2}', Outcome.NONSENSE),
        (200, {}, b'{"quote": NaN}', Outcome.NONSENSE),
        (200, {}, b"\xef\xbb\xbf{}", Outcome.NONSENSE),
        (200, {}, b"{} {}", Outcome.NONSENSE),
        (201, {}, b"{}", Outcome.NONSENSE),
        (202, {}, b'{"queue_id": "x"}', Outcome.NONSENSE),
        (204, {}, b"", Outcome.NONSENSE),
        (101, {}, b"", Outcome.NONSENSE),
        (302, {"location": "https://elsewhere.example"}, b"{}", Outcome.NONSENSE),
        (304, {}, b"", Outcome.NONSENSE),
        (400, {}, ERROR, Outcome.REFUSED),
        (401, {}, b"", Outcome.REFUSED),
        (402, {}, ERROR, Outcome.REFUSED),
        (404, {}, b"<html>", Outcome.REFUSED),
        (409, {}, ERROR, Outcome.REFUSED),
        (422, {}, ERROR, Outcome.REFUSED),
        (499, {}, b"", Outcome.REFUSED),
        (429, {}, b"", Outcome.RATE_LIMITED),
        (429, ORDINARY, ERROR, Outcome.RATE_LIMITED),
        (429, BLOCK, ERROR, Outcome.BLOCKED),
        (429, ORDINARY | BLOCK, ERROR, Outcome.RATE_LIMITED),
        (429, {}, b'{"error": "Too many failed requests. Try later."}', Outcome.BLOCKED),
        (429, ORDINARY, b'{"error": "Too many failed requests."}', Outcome.RATE_LIMITED),
        (429, {}, b'{"error": {"message": "failed requests"}}', Outcome.RATE_LIMITED),
        (429, {"x-ratelimit-remaining": "0"}, ERROR, Outcome.RATE_LIMITED),
        (429, BLOCK | {"x-ratelimit-remaining": "1"}, ERROR, Outcome.RATE_LIMITED),
        (500, {}, ERROR, Outcome.SERVER_ERROR),
        (500, {}, b'{"error": {"message": "failed"}}', Outcome.SERVER_ERROR),
        (500, {}, b'{"error": null}', Outcome.LOST),
        (500, {}, b'{"message": "a proxy"}', Outcome.LOST),
        (500, {}, b"Internal Server Error", Outcome.LOST),
        (500, {}, b"", Outcome.LOST),
        (501, {}, ERROR, Outcome.LOST),
        (502, {}, ERROR, Outcome.LOST),
        (503, {}, b"", Outcome.UNAVAILABLE),
        (504, {}, ERROR, Outcome.LOST),
        (522, {}, ERROR, Outcome.LOST),
        (600, {}, b"", Outcome.NONSENSE),
        (999, {}, b"{}", Outcome.NONSENSE),
    ],
)
def test_a_status_with_its_body_has_one_meaning(
    status: int, headers: dict[str, str], body: bytes, outcome: Outcome
) -> None:
    reply = read_answer(status, headers, body, now=NOW)
    assert (reply.outcome, reply.status) == (outcome, status)


@pytest.mark.parametrize("flaw", [Outcome.LOST, Outcome.NONSENSE])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.REFUSED),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.LOST),
        (503, Outcome.UNAVAILABLE),
        (504, Outcome.LOST),
    ],
)
def test_a_body_that_did_not_come_changes_only_what_the_body_says(
    status: int, outcome: Outcome, flaw: Outcome
) -> None:
    assert read_answer(200, {}, None, now=NOW, flaw=flaw).outcome is flaw
    assert read_answer(status, {}, None, now=NOW, flaw=flaw).outcome is outcome


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (429, ORDINARY, 12.0),
        (429, BLOCK, 30.0),
        (429, {}, None),
        (503, {"retry-after": "7"}, 7.0),
        (503, ORDINARY, None),
        (503, {}, None),
        (500, {"retry-after": "7"}, None),
        (504, {"retry-after": "7"}, None),
        (200, ORDINARY, None),
        (400, ORDINARY, None),
    ],
)
def test_a_wait_counts_only_where_venice_asks_for_one(
    status: int, headers: dict[str, str], wait: float | None
) -> None:
    assert read_answer(status, headers, ERROR, now=NOW).stated_wait == wait


def test_a_deletion_needs_no_json() -> None:
    for status in (200, 202, 204):
        assert read_answer(status, {}, b"gone", now=NOW, json_is_due=False).is_ok
    assert not read_answer(404, {}, b"", now=NOW, json_is_due=False).is_ok


def test_only_headers_the_gateway_uses_are_kept() -> None:
    kept = kept_headers(
        [
            (b"X-RateLimit-Remaining-Requests", b"3"),
            (b"x-ratelimit-remaining-requests", b"39"),
            (b"Retry-After", b" 5 "),
            (b"X-Venice-Balance-USD", b"12.5"),
            (b"x-venice-model-deprecation-date", b"2030-01-01"),
            (b"Content-Type", b"application/json"),
            (b"Set-Cookie", b"session=1"),
            (b"x-venice-model-id", b"m"),
            (b"CF-Ray", b"x"),
        ]
    )
    assert kept == {
        "x-ratelimit-remaining-requests": "3",
        "retry-after": "5",
        "x-venice-balance-usd": "12.5",
        "x-venice-model-deprecation-date": "2030-01-01",
        "content-type": "application/json",
    }


def test_headers_that_no_client_could_be_given_are_dropped() -> None:
    raw = [
        (b"retry-after", b"5\x7f"),
        (b"content-type", "é".encode()),
        (b"x-ratelimit-a", b"9" * 5_000),
        *((b"x-ratelimit-n%d" % n, b"1") for n in range(10_000)),
    ]
    kept = kept_headers(raw)
    assert len(kept) == HEADERS_MAX
    assert not {"retry-after", "content-type", "x-ratelimit-a"} & set(kept)


@pytest.mark.parametrize(
    ("kind", "status", "is_video"),
    [
        ("video/mp4", 200, True),
        ("Video/MP4; codecs=avc1", 200, True),
        (" video/mp4 ;x", 200, True),
        ("video/mp4", 206, False),
        ("video/mp4", 404, False),
        ("application/json", 200, False),
        ("video/mp4x", 200, False),
        ("", 200, False),
    ],
)
def test_a_retrieve_is_a_video_by_its_content_type(kind: str, status: int, is_video: bool) -> None:
    assert is_mp4(status, {"content-type": kind}) is is_video


def test_a_packed_video_is_no_video() -> None:
    assert not is_mp4(200, {"content-type": "video/mp4", "content-encoding": "gzip"})
    assert is_mp4(200, {"content-type": "video/mp4", "content-encoding": "identity"})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("binary/octet-stream", True), ("", True), ("text/html", False), ("application/json", False)],
)
def test_a_link_delivers_a_file_unless_it_calls_it_words(kind: str, expected: bool) -> None:
    assert is_file(200, {"content-type": kind}) is expected


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"content-length": "12"}, 12),
        ({"content-length": "12", "transfer-encoding": "chunked"}, None),
        ({"content-length": "-1"}, None),
        ({"content-length": "²"}, None),
        ({}, None),
    ],
)
def test_a_length_counts_only_where_it_frames_the_body(
    headers: dict[str, str], length: int | None
) -> None:
    assert promised_bytes(headers) == length
