"""The end of a video that nobody has is told of beforehand, once."""

from __future__ import annotations

from structlog.testing import capture_logs

from gateway.core.policy import VideoRules
from gateway.core.retention import WARNING_MS, expiring_before
from gateway.workers.forewarner import Forewarner
from tests.handed_in import HandedIn
from tests.video_house import DAY_MS, VideoHouse


def forewarner(house: VideoHouse, handed_in: HandedIn | None = None) -> Forewarner:
    return Forewarner(
        house.records,
        house.clock,
        house.custody.metrics,
        lambda: house.rules[0].keep_rules,
        handed_in or HandedIn(),
    )


async def told(house: VideoHouse) -> list[str]:
    """The jobs that one round, of a forewarner that remembers nothing, tells of."""
    with capture_logs() as logs:
        await forewarner(house).run_once()
    return [line["job"] for line in logs if line["event"] == "video.expiring"]


async def test_each_undelivered_video_is_told_of_once_two_days_before(house: VideoHouse) -> None:
    job = await house.stored()
    await house.clock.advance((30 * DAY_MS - WARNING_MS) / 1000)
    assert await told(house) == []
    await house.clock.advance(1)
    assert await told(house) == [job.id]
    assert await told(house) == []
    assert house.custody.metrics.videos_expiring._value.get() == 1
    (shown,) = await house.records.expiring(house.clock.now(), user="ann", limit=10)
    assert shown.id == job.id
    assert await house.records.expiring(house.clock.now(), user="bo", limit=10) == []


async def test_what_somebody_has_or_is_done_with_is_not_told_of(house: VideoHouse) -> None:
    delivered, completed = await house.stored(), await house.stored()
    await house.deliveries.note_delivered(delivered)
    await house.removal.complete(completed, purge=False)
    await house.clock.advance(29 * DAY_MS / 1000)
    assert await told(house) == []


async def test_its_user_is_sent_a_notice_before_it_counts_as_told(house: VideoHouse) -> None:
    job, handed_in = await house.stored(), HandedIn()
    await house.clock.advance(29 * DAY_MS / 1000)
    await forewarner(house, handed_in).run_once()
    [news] = handed_in.news
    assert (news.event, news.subject, news.user) == ("video.expiring", job.id, "ann")
    assert news.facts["expires_at"]


def test_half_of_a_short_life_is_over_before_its_end_is_told() -> None:
    rules = VideoRules(keep_undelivered="24h").keep_rules
    assert expiring_before(rules, 10 * DAY_MS) == 10 * DAY_MS - DAY_MS // 2
