"""Notices: when they are tried again, and that they read as receivers expect."""

from __future__ import annotations

import json

import pytest

from gateway.core.notices import (
    GAP_MS_MAX,
    TRIED_FOR_MS,
    Attempt,
    Notice,
    next_try,
    slack_body,
    standard_body,
)

NOON = 1_790_000_000_000
NOTICE = Notice(
    "n1", "k", "job.failed", "job1", NOON, "film", "anna", {"state": "lost", "quote_usd": "0.06"}
)


def failed(at: int, status: int | None = 500, wait: int = 0) -> Attempt:
    return Attempt(at, 10, status, "no", wait)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_receiver_that_is_down_is_tried_for_a_day_and_ever_less_often(chance: float) -> None:
    at, made, gaps = NOON, 0, []
    while True:
        made += 1
        due = next_try(made, NOON, failed(at), chance)
        if due is None:
            break
        gaps.append(due - at)
        at = due
    assert at == NOON + TRIED_FOR_MS
    assert 15 <= made <= 40
    assert gaps[0] < 10_000
    assert max(gaps) <= GAP_MS_MAX * 5 / 4 + 10
    assert gaps[:8] == sorted(gaps[:8])


def test_one_that_says_it_is_gone_is_tried_no_more() -> None:
    assert next_try(1, NOON, failed(NOON, 410), 0.5) is None


def test_a_stated_wait_is_kept_but_not_for_ever() -> None:
    assert next_try(1, NOON, failed(NOON, 503, 60_000), 0.5) == NOON + 10 + 60_000
    assert next_try(1, NOON, failed(NOON, 503, 10**12), 0.5) == NOON + 10 + GAP_MS_MAX


def test_the_standard_body_says_what_happened_when_and_to_whom() -> None:
    body = json.loads(standard_body(NOTICE, "2026-09-21T12:53:20.000Z"))
    assert body == {
        "type": "job.failed",
        "timestamp": "2026-09-21T12:53:20.000Z",
        "data": {
            "id": "n1",
            "subject": "job1",
            "team": "film",
            "user": "anna",
            "state": "lost",
            "quote_usd": "0.06",
        },
    }


def test_a_name_is_never_a_mention_or_a_link_in_a_chat() -> None:
    notice = Notice("n1", "k", "job.failed", "<!channel>", NOON, None, "a&b", {"why": "<http://x>"})
    text = json.loads(slack_body(notice))["text"]
    assert text == "Job failed: &lt;!channel&gt; (a&amp;b) - why &lt;http://x&gt;"
