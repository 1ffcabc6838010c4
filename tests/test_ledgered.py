"""What is rendered in parts reads as if the library had rendered it whole."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.ledgered import LedgeredCounter
from gateway.metrics import Metrics

NAMES = ("film", "", 'a "quoted"\nteam\\', "two\x85lines\u2028or\rone", "süß")


def test_the_text_is_the_librarys_whatever_came_changed_or_went() -> None:
    chance = random.Random(7)
    counter = LedgeredCounter("spend_usd", "Dollars.", ("team", "model"))
    registry = CollectorRegistry()
    registry.register(counter)
    shown: dict[tuple[str, str], int] = {}
    texts = set()
    for _ in range(300):
        labels = (chance.choice(NAMES), f"model-{chance.randrange(4)}")
        if chance.random() < 0.2:
            shown.pop(labels, None)
        else:
            shown[labels] = shown.get(labels, 0) + chance.randrange(3)
        counter.show(dict(shown))
        assert counter.text() == generate_latest(registry)
        texts.add(counter.text())
    assert len(texts) > 200


def test_every_family_is_in_the_text_once() -> None:
    metrics = Metrics()
    metrics.spend.show({("film", "wan"): 85_000})
    parsed = list(text_string_to_metric_families(metrics.text().decode()))
    assert sorted(family.name for family in parsed) == sorted(
        family.name for family in metrics.families()
    )
    (spend,) = (family for family in parsed if family.name.endswith("spend_usd"))
    assert [(sample.labels, sample.value) for sample in spend.samples] == [
        ({"team": "film", "model": "wan"}, 0.085)
    ]
