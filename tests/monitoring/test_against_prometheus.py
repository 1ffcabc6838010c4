"""Every query of every panel, variable, mark, alert and rule gives data where there is traffic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from grafana.pages import ANNOTATIONS, PAGES
from tests.missing import missing
from tests.monitoring.asked import ALERTS, RECORDED
from tests.monitoring.stand import Stand, is_possible, stand

PLAY_SECONDS = 150.0
"""A change of the rules is told from a restart by there being none in the two minutes before."""
COMPARED = re.compile(r" (==|>=|<=|<|>) ")

pytestmark = [pytest.mark.torture, pytest.mark.timeout(400)]


def test_every_query_gives_data(tmp_path: Path) -> None:
    if not is_possible():
        missing("prometheus is not installed: queries NOT run")
    with stand(tmp_path, PLAY_SECONDS) as found:
        empty = [where for where, has_data in _asked(found) if not has_data]
        unwell = [rule["name"] for rule in found.rules() if rule["health"] != "ok"]
    assert (empty, unwell) == ([], [])


def _asked(found: Stand) -> Iterator[tuple[str, bool]]:
    for page in PAGES:
        for panel in page.panels:
            for query in panel.queries:
                series = found.since_the_beginning(query.expr)
                has_data = any(one.points for one in series)
                yield f"{page.title}: {panel.title}: {query.legend}", has_data
        for variable in page.variables:
            yield f"${variable.name}", bool(found.label_values(variable.values))
    for name, query in ANNOTATIONS.items():
        yield name, bool(found.since_the_beginning(query.expr))
    for rule in ALERTS:
        # Whether it fires is for the tests of the rules; here both sides must have something.
        expr = COMPARED.sub(r" \1 bool ", rule["expr"])
        yield rule["alert"], bool(found.since_the_beginning(expr))
    for name in RECORDED:
        yield name, bool(found.now(name))
