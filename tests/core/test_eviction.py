"""Who makes room: what somebody has before what nobody has, and no more than is needed."""

from __future__ import annotations

import random

from gateway.core.eviction import AUTO_BYTES_MAX, Excess, Held, auto_quota, choose, excess

GIB = 2**30


def a_video(name: str, used_at: int = 0, *, owed: bool = False, returns: bool = False) -> Held:
    return Held(name, 10, used_at, is_owed=owed, can_return=returns)


def chosen(videos: list[Held], quota: int = 0, disk: int = 0) -> list[str]:
    return [video.job_id for video in choose(videos, Excess(quota, disk))]


def test_what_somebody_has_goes_before_what_nobody_has_and_what_returns_before_what_does_not() -> (
    None
):
    videos = [
        a_video("only copy", 1, owed=True),
        a_video("owed, at Venice too", 9, owed=True, returns=True),
        a_video("delivered", 2),
        a_video("delivered, just read", 8),
        a_video("delivered, at Venice too", 9, returns=True),
    ]
    order = chosen(videos, quota=1_000)
    assert order == [
        "delivered, at Venice too",
        "delivered",
        "delivered, just read",
        "owed, at Venice too",
        "only copy",
    ]


def test_no_more_goes_than_is_needed() -> None:
    videos = [a_video(str(n), n) for n in range(10)]
    assert chosen(videos) == []
    assert chosen(videos, quota=1) == ["0"]
    assert chosen(videos, quota=20) == ["0", "1"]
    assert chosen(videos, quota=5, disk=25) == ["0", "1", "2"]


def test_a_disk_that_others_fill_takes_nothing_that_nobody_has() -> None:
    videos = [a_video("delivered"), a_video("owed", owed=True)]
    assert chosen(videos, disk=1_000) == ["delivered"]
    assert chosen(videos, quota=11, disk=1_000) == ["delivered", "owed"]


def test_the_automatic_quota_does_not_shrink_with_our_own_videos() -> None:
    disk = 60 * GIB
    assert {auto_quota(disk - stored, stored) for stored in range(0, disk, GIB)} == {30 * GIB}
    assert auto_quota(disk - 20 * GIB, 10 * GIB) == 25 * GIB
    assert auto_quota(2**50, 0) == AUTO_BYTES_MAX


def test_filled_by_its_choice_a_store_never_passes_its_quota_by_more_than_what_is_coming() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(200):
        quota, stored = chance.randrange(100, 1_000), list[Held]()
        for number in range(60):
            coming = chance.randrange(1, 80)
            too_much = excess(
                quota=quota,
                free_wanted=0,
                stored_bytes=sum(video.bytes for video in stored),
                coming_bytes=coming,
                free_bytes=2**40,
            )
            gone = choose(stored, too_much)
            owed_left = [video for video in stored if not video.is_owed and video not in gone]
            assert not owed_left or not any(video.is_owed for video in gone)
            stored = [video for video in stored if video not in gone]
            stored.append(
                Held(
                    str(number),
                    coming,
                    chance.randrange(1_000),
                    is_owed=chance.random() < 0.5,
                    can_return=chance.random() < 0.5,
                )
            )
            assert sum(video.bytes for video in stored) <= quota
