"""The bench's own parts: that it compares in turns, and that its load is what it says."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree as ET

import pytest

from tests.bench import load, processes, virtual_time
from tests.bench.bound import best_schedule, ready_by
from tests.bench.plots import Line, draw
from tests.bench.rounds import Comparison, compare


def test_subject_and_baseline_take_turns_and_the_first_turn_is_thrown_away() -> None:
    taken: list[str] = []

    def measured(name: str, figure: float) -> float:
        taken.append(name)
        return figure if len(taken) > 2 else 0.001

    found = compare(
        "a", "b/s", lambda: measured("s", 2.0), lambda: measured("b", 4.0), turns=3, goal=0.6
    )
    assert taken == ["b", "s", "s", "b", "b", "s", "s", "b"]
    assert found.pairs == ((2.0, 4.0),) * 3
    assert (found.ratio, found.verdict) == (0.5, "missed")


def test_a_ratio_is_the_median_of_the_turns_own_ratios() -> None:
    found = Comparison("a", "b/s", ((1.0, 2.0), (10.0, 10.0), (3.0, 4.0)), goal=0.7)
    assert (found.ratio, found.spread, found.verdict) == (0.75, (0.5, 1.0), "reached")


def test_the_load_without_wrk_counts_answers_and_refuses_errors() -> None:
    with processes.bare_app() as url:
        request = load.Request(url, "POST", body="{}", connections=4, seconds=0.3)
        assert load._by_sockets(request) > 10
        began = time.perf_counter()
        answers = load.each_answer(request)
        ended = time.perf_counter()
        assert all(began < asked < asked + wait < ended for asked, wait in answers)
        # Four at once, each asked again as soon as it is answered.
        assert 1.0 < sum(wait for _, wait in answers) / 0.3 <= 4.1
        with pytest.raises(load.LoadFailed, match="405"):
            load._by_sockets(load.Request(url, seconds=0.3))


def test_who_has_to_wait_for_a_server_that_stands_still_is_counted_each_time() -> None:
    """A load that waited for the one slow answer would count one, and none after it."""
    still, stood = 0.3, threading.Event()

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not stood.is_set():
                stood.set()
                time.sleep(still)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        asked = load.Request(url, connections=1, seconds=1.0, per_second=100)
        waits = [wait for _, wait in load.each_answer(asked)]
        server.shutdown()
    assert max(waits) >= still
    assert sum(wait > still / 2 for wait in waits) >= 10


def test_virtual_time_passes_only_where_nobody_has_anything_to_do() -> None:
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(asyncio.sleep(seconds) for seconds in (3_600, 1_800)))
        await asyncio.to_thread(lambda: None)
        return loop.time() - began

    began = time.monotonic()
    assert virtual_time.run(wait()) == pytest.approx(3_600, abs=1)
    assert time.monotonic() - began < 30


def test_more_looks_find_videos_sooner_each_less_than_the_one_before() -> None:
    delays = [best_schedule([100.0], looks).delay for looks in (2.0, 3.0, 4.0)]
    assert delays[0] - delays[1] > delays[1] - delays[2] > 0
    assert best_schedule([200.0], 3.0).delay == pytest.approx(2 * delays[1], rel=0.02)
    assert ready_by(100.0)(100.0) == pytest.approx(0.8)


def test_one_look_is_worth_what_a_calculation_by_hand_says() -> None:
    """Looking once at the last possible moment finds a video after the rest of the time."""
    slow = best_schedule([100.0], 1.0)
    assert slow.looks == pytest.approx(1.0, abs=0.05)
    assert slow.delay > 100.0 / math.e


def test_a_plot_is_well_formed_and_shows_every_line_by_name() -> None:
    lines = [Line("a < b", [(1, 0), (10, 3)]), Line("bound", [(1, 5), (100, 1)], is_bound=True)]
    found = ET.fromstring(draw("title & more", "x", "y", lines, is_log=True))
    texts = [each.text for each in found.iter() if each.tag.endswith("text")]
    assert {"a < b", "bound", "title & more", "1", "10", "100"} <= set(texts)
    assert sum(each.tag.endswith("polyline") for each in found.iter()) == 2
