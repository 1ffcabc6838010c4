"""The gateway's clock: it follows its machine's, and jumps with nobody."""

from __future__ import annotations

import pytest

from gateway.moments import SystemClock

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
NOON = 1_790_000_000 * SECOND


class Machine:
    """A wall clock and one that only counts."""

    def __init__(self) -> None:
        self.wall, self.elapsed = NOON, 5 * DAY
        self.clock = SystemClock(lambda: self.wall, lambda: self.elapsed)

    def passes(self, nanoseconds: int) -> int:
        """Let time pass; the gateway's time after it, in milliseconds since the start."""
        self.wall += nanoseconds
        self.elapsed += nanoseconds
        return self.clock.now() - NOON // 1_000_000


def test_undisturbed_it_is_the_wall_clock() -> None:
    machine = Machine()
    for _ in range(1_000):
        machine.passes(1_234_567)
    assert machine.passes(SECOND) == (1_000 * 1_234_567 + SECOND) // 1_000_000


@pytest.mark.parametrize("jump", [DAY, HOUR, -HOUR, -DAY])
def test_a_jump_of_the_wall_clock_moves_it_by_a_second_a_minute_at_most(jump: int) -> None:
    machine = Machine()
    machine.wall += jump
    assert abs(machine.passes(10 * SECOND) - 10_000) <= 167
    assert abs(machine.passes(50 * SECOND) - 60_000) <= 1_001


def test_it_never_goes_back() -> None:
    machine = Machine()
    told = machine.passes(SECOND)
    machine.wall -= HOUR
    for _ in range(1_000):
        now = machine.passes(1_000_000)
        assert now >= told
        told = now


def test_a_slow_drift_is_followed() -> None:
    machine = Machine()
    for _ in range(600):
        machine.wall += SECOND // 100
        machine.passes(MINUTE)
    assert machine.clock.now() == machine.wall // 1_000_000


def test_a_small_correction_is_made_up_for_in_time() -> None:
    machine = Machine()
    machine.wall += 30 * SECOND
    machine.passes(31 * MINUTE)
    assert machine.clock.now() == machine.wall // 1_000_000
