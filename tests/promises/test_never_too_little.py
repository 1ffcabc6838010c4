"""R6: what is held for an order is never less than what Venice then charges for it."""

from __future__ import annotations

import base64
import random
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import gateway.simulator
from gateway.core.catalogue import read_catalogue
from gateway.core.errors import InvalidRequest
from gateway.core.money import Money
from gateway.core.pricing import job_facts, read_quote
from gateway.core.validation import check_queue_body
from gateway.simulator import constraints
from gateway.simulator.catalogue import VideoModel, load_catalogue
from gateway.simulator.prices import price

REFERENCE_SECONDS_WORST = 150
"""What stands for references of unknown length, where no policy says otherwise."""
STAND_IN = load_catalogue(Path(gateway.simulator.__file__).with_name("catalogue.yaml"))
OURS = read_catalogue({"data": STAND_IN.listing("video")})


def clip(chance: random.Random) -> str:
    """A reference video: a web address, or a data URL that says how long it plays."""
    if chance.random() < 0.4:
        return f"https://example.org/{chance.randrange(10**6)}.mp4"
    milliseconds = chance.choice((2_000, 2_001, 4_999, 5_000, 7_001, chance.randrange(1, 16_000)))
    header = struct.pack(">I4s5I", 108, b"mvhd", 0, 0, 0, 1_000, milliseconds) + bytes(80)
    movie = struct.pack(">I4s", 8 + len(header), b"moov") + header
    return "data:video/mp4;base64," + base64.b64encode(movie).decode()


def a_body(model: VideoModel, chance: random.Random) -> dict[str, Any]:
    """An order of a model, with every trick that might make it look cheaper than it is."""

    def one_of(name: str) -> Any:
        return chance.choice([*model.allowed(name), None])

    body = {
        "model": model.id,
        "prompt": "a fox",
        "duration": chance.choice([*model.allowed("durations"), "auto", "-1", None]),
        "resolution": one_of("resolutions"),
        "aspect_ratio": one_of("aspect_ratios"),
        "audio": chance.choice((True, False, None)),
        "upscale_factor": chance.choice((1, 2, 4, None)),
        "image_url": chance.choice(("https://example.org/a.png", None)),
        "video_url": chance.choice((clip(chance), None)),
        "reference_video_urls": chance.choice(
            ([clip(chance) for _ in range(chance.randrange(1, 4))], [], None)
        ),
        "reference_video_total_duration": chance.choice((1, None)),
        "quote": chance.choice((0.01, None)),
        "price": chance.choice(("0", None)),
    }
    return {name: value for name, value in body.items() if value is not None}


def held_and_charged(model: VideoModel, body: dict[str, Any]) -> tuple[Money, Money] | None:
    """What is reserved for an order, and what it truly costs; None where it is refused."""
    try:
        checked, facts_of_model = check_queue_body(body, OURS)
    except InvalidRequest:
        return None
    true_order, issues = constraints.read_queue(model, checked)
    if issues or true_order is None:
        return None
    facts = job_facts(checked, facts_of_model, reference_seconds_worst=REFERENCE_SECONDS_WORST)
    asked, issues = constraints.read_quote(model, dict(facts.quote_body))
    if issues or asked is None:
        return None
    quote = price(model, asked)
    held = read_quote({"quote": quote}, may_be_free=False)
    return held, Money.from_decimal(price(model, true_order))


@pytest.mark.parametrize("orders", [1_000, pytest.param(5_000, marks=pytest.mark.torture)])
def test_no_order_is_held_at_less_than_it_costs(orders: int, chance: random.Random) -> None:
    """Over the whole catalogue, as often as so many orders are taken."""
    taken: Counter[str] = Counter()
    models = list(STAND_IN.video.values())
    while taken.total() < orders:
        model = chance.choice(models)
        body = a_body(model, chance)
        found = held_and_charged(model, body)
        if found is not None:
            held, charged = found
            assert held >= charged, body
            taken[model.id] += 1
    sold = {model.id for model in models if not model.is_offline}
    assert taken.keys() >= sold, "a model that no order was taken of"
