"""Signed links: they end when they say, and nobody else can make one or make it last."""

from __future__ import annotations

import base64

import pytest

from gateway.core.links import TOKEN_CHARACTERS_MAX, compose_token, read_token

SECRET, OTHER = b"s" * 32, b"o" * 32
UNTIL = 1_800_000_000_000
TOKEN = compose_token(SECRET, "job1", UNTIL)


@pytest.mark.parametrize(
    ("now", "job"), [(0, "job1"), (UNTIL - 1, "job1"), (UNTIL, None), (UNTIL + 1, None)]
)
def test_a_link_works_until_its_end_and_not_at_it(now: int, job: str | None) -> None:
    assert read_token(SECRET, TOKEN, now) == job


def test_a_link_of_another_secret_is_none() -> None:
    assert read_token(OTHER, TOKEN, 0) is None


def test_no_character_of_a_link_can_be_another() -> None:
    for place, character in enumerate(TOKEN):
        forged = TOKEN[:place] + ("A" if character != "A" else "B") + TOKEN[place + 1 :]
        assert read_token(SECRET, forged, 0) is None


def test_a_link_cannot_be_made_to_last_or_to_lead_to_another_job() -> None:
    raw = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for body in (b"job1.9900000000000", b"job2.1800000000000"):
        mac = raw[: len(raw) - len(f"job1.{UNTIL}")]
        forged = base64.urlsafe_b64encode(mac + body).decode().rstrip("=")
        assert read_token(SECRET, forged, 0) is None


@pytest.mark.parametrize(
    "text", ["", "A", "=", "..", "é", "\x00", TOKEN + "AAAA", "A" * TOKEN_CHARACTERS_MAX * 2]
)
def test_any_other_text_is_no_link(text: str) -> None:
    assert read_token(SECRET, text, 0) is None
