"""`make bench-key`: measures what becomes of one key that many share, prints it, and writes
`docs/benchmarks-key.md` with its plots.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import structlog

from tests.bench.bound import best_schedule
from tests.bench.hour import P80_SECONDS, Hour, best_delay, run_hour
from tests.bench.load import ROOT
from tests.bench.plots import Line, draw
from tests.bench.polled import (
    GOAL,
    JOBS,
    NUMBERS_OF_CLIENTS,
    Polled,
    compare_crowds,
    count_retrieves,
)

PAGE = ROOT / "docs" / "benchmarks-key.md"
PLOTS = ROOT / "docs" / "explanation" / "plots"
LATE_GOAL = 1.3
RATE_GOAL = 37.0
_TEXT = """# Benchmarks of the shared key

Written by `make bench-key`. What becomes of one key at Venice that many clients share, and of the
machine that answers them.

## An hour at full rate

{minutes:.0f} minutes with {orders} orders a minute, every client polling every five seconds,
before a stand-in with Venice's limits (40 orders and 120 retrieves a minute, blocked after 20
failures in 30 seconds) whose videos take {p80:.0f} s, a P80. Time is virtual: it stands still
while anything is done, so the figures are of decisions, not of this machine. The baseline is the
same clients with the key itself.

| | videos a minute | 429 from Venice | blocks | mean delay | p95 | retrieves a video |
|---|---|---|---|---|---|---|
{hours}

The gate lets 38 orders through in 61 seconds: 37.4 a minute (goal {rate_goal:.0f}, {rate_verdict}).
The delay is from the moment a video is ready to the client's having it. The best schedule that
three retrieves a video allow, computed from the true distribution, finds a video {best:.1f} s
after it is ready. Through the gateway it is here after {found:.1f} s, {found_ratio:.2f} times
that (goal {goal}, {found_verdict}), and delivered after {mean:.1f} s, {mean_ratio:.2f} times that
(goal {goal}, {verdict}). What lies between is the time to the client's next poll, which the
gateway's own questions come just before.

![How late videos are delivered](explanation/plots/delays.svg)

## Ten thousand clients

{clients:,} clients, each on a connection of its own, poll {jobs} jobs every five seconds. The
baseline is a Starlette application that answers a constant. A ratio of 1 means that the gateway
costs nothing on top; here it is **{ratio:.2f}** (goal {poll_goal}, {poll_verdict}). Figures are
of processor time, which other work on the machine changes little; the times of answers it does.

| | polls a second and core | p50 | p99 | memory | other than 200 |
|---|---|---|---|---|---|
{crowds}

## What clients cost the key

Retrieves a video while so many clients poll it, from its start to its end:

| clients | {numbers} |
|---|{dashes}|
| retrieves a video | {retrieves} |

![Retrieves a video against clients](explanation/plots/clients.svg)
"""


def main() -> None:
    """Measure everything; `--quick` to see that it runs, which writes nothing."""
    parser = argparse.ArgumentParser("tests.bench.shared_key", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short turns; writes nothing")
    quick = parser.parse_args().quick
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    minutes, clients, jobs = (6.0, 200, 20) if quick else (60.0, max(NUMBERS_OF_CLIENTS), JOBS)
    hours = []
    for has_gateway in (True, False):
        with TemporaryDirectory(prefix="bench-") as folder:
            hours.append(run_hour(Path(folder), minutes, has_gateway=has_gateway))
        print(hours[-1], flush=True)
    print(f"the best schedule: {best_delay():.1f} s", flush=True)
    with TemporaryDirectory(prefix="bench-") as folder:
        crowds = compare_crowds(Path(folder), clients, jobs)
    print(*crowds, sep="\n", flush=True)
    with TemporaryDirectory(prefix="bench-") as folder:
        retrieves = count_retrieves(Path(folder), [n for n in NUMBERS_OF_CLIENTS if n <= clients])
    print(retrieves, flush=True)
    if not quick:
        write(minutes, hours, crowds, retrieves)


def write(
    minutes: float,
    hours: Sequence[Hour],
    crowds: tuple[Polled, Polled],
    retrieves: Mapping[int, float],
) -> None:
    """Put this run's results in place of the last one's."""
    own, best = hours[0], best_delay()
    found = fmean(own.found)
    ratio = crowds[0].per_core / crowds[1].per_core
    text = _TEXT.format(
        minutes=minutes,
        rate_goal=RATE_GOAL,
        rate_verdict=_verdict(own.delivered_per_minute >= RATE_GOAL),
        orders=40,
        p80=P80_SECONDS,
        hours="\n".join(map(_hour_row, hours)),
        best=best,
        found=found,
        found_ratio=found / best,
        mean=own.mean,
        mean_ratio=own.mean / best,
        goal=LATE_GOAL,
        found_verdict=_verdict(found <= LATE_GOAL * best),
        verdict=_verdict(own.mean <= LATE_GOAL * best),
        clients=max(retrieves),
        jobs=JOBS,
        ratio=ratio,
        poll_goal=GOAL,
        poll_verdict=_verdict(ratio >= GOAL),
        crowds="\n".join(map(_crowd_row, crowds)),
        numbers=" | ".join(f"{n:,}" for n in retrieves),
        dashes="|".join("---" for _ in retrieves),
        retrieves=" | ".join(f"{n:.1f}" for n in retrieves.values()),
    )
    PAGE.write_text(text, "utf-8")
    PLOTS.mkdir(exist_ok=True)
    for name, plot in _plots(hours, retrieves).items():
        (PLOTS / f"{name}.svg").write_text(plot, "utf-8")
    print(f"written to {PAGE}")


def _verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "missed"


def _plots(hours: Sequence[Hour], retrieves: Mapping[int, float]) -> dict[str, str]:
    looks = [1.5 + 0.25 * n for n in range(19)]
    bounds = [(n, best_schedule([P80_SECONDS], n).delay) for n in looks]
    clients = [Line("retrieves a video", [(float(n), found) for n, found in retrieves.items()])]
    return {
        "delays": draw(
            "How late videos are delivered",
            "seconds after it was ready",
            "share of videos, %",
            [Line(hour.name, _shares(hour.delays)) for hour in hours],
        ),
        "clients": draw("What clients cost the key", "clients of a job", "", clients, is_log=True),
        "bound": draw(
            "The best that looks can do",
            "looks a video, the download included",
            "seconds from ready to found",
            [Line("the best schedule", bounds, is_bound=True)],
        ),
    }


def _shares(delays: Sequence[float]) -> list[tuple[float, float]]:
    """The share of videos that had come by each second of a minute, in per cent."""
    total = max(1, len(delays))
    return [(float(s), 100 * sum(d <= s for d in delays) / total) for s in range(61)]


def _hour_row(hour: Hour) -> str:
    return (
        f"| {hour.name} | {hour.delivered_per_minute:.1f} | {hour.refused:,} | {hour.blocks} | "
        f"{hour.mean:.1f} s | {hour.p95:.1f} s | {hour.looks_per_job:.2f} |"
    )


def _crowd_row(polled: Polled) -> str:
    return (
        f"| {polled.name} | {polled.per_core:,.0f} | {polled.answered.p50:.1f} ms | "
        f"{polled.answered.p99:.1f} ms | {polled.memory_mb:.0f} MB | {polled.answered.others} |"
    )


if __name__ == "__main__":
    main()
