"""R33 at the doors of a running gateway: conditions, HEAD and resumed downloads, as RFC 9110 says,
wherever a video is fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import MODEL, PRIVATE_MODEL, Client

NOTHING, WHOLE, PART = slice(0, 0), slice(None), slice(5, 10)
SAME, OTHER = "SAME", '"other"'
"""The tag of the video, where it is known, and one that no video has."""
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
RANGE = {"range": "bytes=5-9"}
DOORS = ("own", "media link", "share link")
TOLD = ("content-length", "content-type", "etag", "accept-ranges", "cache-control")
RESUMED = 50
"""Downloads broken off, over all doors."""

CONDITIONS: list[tuple[dict[str, str], int, slice]] = [
    ({}, 200, WHOLE),
    (RANGE, 206, PART),
    ({"if-none-match": SAME}, 304, NOTHING),
    ({"if-none-match": OTHER}, 200, WHOLE),
    ({"if-none-match": "*"}, 304, NOTHING),
    ({"if-none-match": f"W/{SAME}"}, 304, NOTHING),
    ({"if-none-match": f'"a", {SAME} , W/"b"'}, 304, NOTHING),
    ({"if-none-match": f"{OTHER}, W/{OTHER}"}, 200, WHOLE),
    ({"if-none-match": SAME, **RANGE}, 304, NOTHING),
    ({"if-none-match": OTHER, **RANGE}, 206, PART),
    ({"if-match": SAME}, 200, WHOLE),
    ({"if-match": OTHER}, 412, NOTHING),
    ({"if-match": "*"}, 200, WHOLE),
    # A weak tag is never strongly the same (8.8.3.2).
    ({"if-match": f"W/{SAME}"}, 412, NOTHING),
    ({"if-match": f"{OTHER}, {SAME}"}, 200, WHOLE),
    ({"if-match": OTHER, "if-none-match": SAME}, 412, NOTHING),
    ({"if-match": OTHER, **RANGE}, 412, NOTHING),
    ({"if-range": SAME, **RANGE}, 206, PART),
    ({"if-range": OTHER, **RANGE}, 200, WHOLE),
    ({"if-range": f"W/{SAME}", **RANGE}, 200, WHOLE),
    ({"if-range": DATE, **RANGE}, 200, WHOLE),
    ({"if-range": SAME}, 200, WHOLE),
    ({"if-range": SAME, "range": "bytes=999999999-"}, 416, NOTHING),
    # No video has a date: a condition on one is ignored.
    ({"if-modified-since": DATE}, 200, WHOLE),
    ({"if-unmodified-since": DATE}, 200, WHOLE),
]
"""What is asked for, what status it has, and which bytes of the video."""


@dataclass
class Place:
    """Where a video is fetched, and what it is."""

    url: str
    headers: dict[str, str]
    content: bytes

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()}"'

    def ask(self, http: httpx.Client, method: str, fields: dict[str, str]) -> httpx.Response:
        named = {name: text.replace(SAME, self.tag) for name, text in fields.items()}
        return http.request(method, self.url, headers={**self.headers, **named})


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def places(gateway_server: GatewayProcess) -> dict[str, Place]:
    return asyncio.run(_bought(gateway_server))


async def _bought(gateway: GatewayProcess) -> dict[str, Place]:
    """A video with its own door, its poll and a link to share; a private one with its link."""
    async with Client(gateway) as client:
        queue_id = await client.buy("asked for under conditions")
        content = (await client.finished(queue_id)).content
        shared = await client.request("POST", f"/gateway/v1/jobs/{queue_id}/links", {})
        private = await client.queue(
            {"model": PRIVATE_MODEL, "prompt": "private", "duration": "5s", "resolution": "480p"}
        )
        await client.finished(private.json()["queue_id"])
        link = private.json()["download_url"]
        hidden = (await client.get(link)).content
    key = {"authorization": f"Bearer {gateway.user_key}"}
    assert content != hidden
    return {
        "own": Place(f"{gateway.url}/gateway/v1/videos/{queue_id}", key, content),
        "media link": Place(link, {}, hidden),
        "share link": Place(shared.json()["url"], {}, content),
        "retrieve": Place(f"{gateway.url}/api/v1/video/retrieve", key, content),
    }


@pytest.mark.parametrize("door", DOORS)
def test_every_condition_is_answered_as_rfc_9110_says(
    places: dict[str, Place], http: httpx.Client, door: str
) -> None:
    place = places[door]
    for fields, status, wanted in CONDITIONS:
        answer = place.ask(http, "GET", fields)
        assert answer.status_code == status, fields
        if status in (200, 206, 304):
            assert answer.content == place.content[wanted], fields
            assert answer.headers["etag"] == place.tag, fields
        else:
            assert answer.json()["status"] == status, fields
        size = len(place.content)
        stated = {206: f"bytes 5-9/{size}", 416: f"bytes */{size}"}.get(status)
        assert answer.headers.get("content-range") == stated, fields


@pytest.mark.parametrize("door", DOORS)
def test_head_is_answered_as_get_without_a_body_and_without_ranges(
    places: dict[str, Place], http: httpx.Client, door: str
) -> None:
    """RFC 9110, 9.3.2 and 14.2: a range is defined for GET alone."""
    place = places[door]
    for fields, _, _ in CONDITIONS:
        without = {name: text for name, text in fields.items() if name != "range"}
        whole, head = place.ask(http, "GET", without), place.ask(http, "HEAD", fields)
        assert (head.status_code, head.content) == (whole.status_code, b""), fields
        assert "content-range" not in head.headers, fields
        told = [{name: a.headers.get(name) for name in TOLD} for a in (whole, head)]
        assert told[0] == told[1], fields


def test_a_poll_is_answered_with_the_whole_video_whatever_range_or_condition_it_names(
    places: dict[str, Place], http: httpx.Client
) -> None:
    """They are for GET and HEAD; a client of Venice's that sends them gets what Venice sends."""
    place = places["retrieve"]
    body = {"model": MODEL, "queue_id": places["own"].url.rpartition("/")[2]}
    for fields, _, _ in CONDITIONS:
        named = {name: text.replace(SAME, place.tag) for name, text in fields.items()}
        answer = http.post(place.url, json=body, headers={**place.headers, **named})
        assert (answer.status_code, answer.content == place.content) == (200, True), fields
        assert "content-range" not in answer.headers


def test_a_download_resumed_anywhere_has_the_same_sha_256(
    places: dict[str, Place], http: httpx.Client, chance: random.Random
) -> None:
    for number in range(RESUMED):
        place = places[DOORS[number % len(DOORS)]]
        offset = chance.randrange(1, len(place.content))
        headers = place.headers
        with http.stream("GET", place.url, headers=headers) as answer:
            begun = b""
            for piece in answer.iter_raw():
                begun += piece
                if len(begun) >= offset:
                    break
        fields = {"range": f"bytes={offset}-", "if-range": answer.headers["etag"]}
        rest = place.ask(http, "GET", fields)
        assert rest.status_code == 206
        digest = hashlib.sha256(begun[:offset] + rest.content).hexdigest()
        assert f'"{digest}"' == answer.headers["etag"] == place.tag
