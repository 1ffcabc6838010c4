"""The fault plan at work: which rules strike a call. Its counts survive a restart."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.simulator.answers import MP4, Answer
from gateway.simulator.calls import Call
from gateway.simulator.jobs import Fate
from gateway.simulator.json_text import from_json, to_json
from gateway.simulator.rules import OTHER, VIDEO, Action, Match, Rule, parse_rule
from gateway.simulator.store import Store


@dataclass
class _Planned:
    number: int
    source: Any
    rule: Rule
    matched: int
    fired: int


class FaultPlan:
    """Rules in order; of those that concern a call, the first that fires strikes."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._seed = seed
        self._planned = [
            _Planned(row["id"], source, parse_rule(source), row["matched"], row["fired"])
            for row in store.rows("SELECT * FROM rules ORDER BY id")
            for source in [from_json(row["rule"])]
        ]

    def append(self, sources: Iterable[Any]) -> None:
        """Add rules behind those there are. Raises RuleRefused, and then adds none."""
        checked = [(source, parse_rule(source)) for source in sources]
        with self._store.transaction():
            for source, rule in checked:
                number = self._store.insert("rules", rule=to_json(source))
                self._planned.append(_Planned(number, source, rule, 0, 0))

    def replace(self, sources: Iterable[Any]) -> None:
        """Put these rules in place of all others. Raises RuleRefused, and then changes nothing."""
        sources = list(sources)
        for source in sources:
            parse_rule(source)
        self.clear()
        self.append(sources)

    def clear(self) -> None:
        self._store.execute("DELETE FROM rules")
        self._planned.clear()

    def report(self) -> list[dict[str, Any]]:
        """The rules as given, with how often each matched and fired."""
        return [
            {"id": each.number, "matched": each.matched, "fired": each.fired, "rule": each.source}
            for each in self._planned
        ]

    def action(self, call: Call, before: str, answer: Answer | None = None) -> Action | None:
        """What strikes a call at this stage; ``answer`` is what its door said, if it was asked."""
        for planned in self._planned:
            rule = planned.rule
            is_due = rule.action is not None and rule.before == before
            if is_due and _is_about(rule, call, answer) and self._fires(planned):
                return rule.action
        return None

    def fate(self, call: Call) -> Fate:
        """What becomes of the job a queue call is about to buy."""
        for planned in self._planned:
            rule = planned.rule
            if rule.fate is not None and _is_about(rule, call, None) and self._fires(planned):
                return rule.fate
        return Fate()

    def _fires(self, planned: _Planned) -> bool:
        rule = planned.rule
        if rule.times is not None and planned.fired >= rule.times:
            return False
        planned.matched += 1
        chance = random.Random(f"{self._seed}:{planned.number}:{planned.matched}").random()
        fires = planned.matched > rule.skip and chance < rule.probability
        planned.fired += fires
        self._store.execute(
            "UPDATE rules SET matched = ?, fired = ? WHERE id = ?",
            planned.matched, planned.fired, planned.number,
        )  # fmt: skip
        return fires


def _is_about(rule: Rule, call: Call, answer: Answer | None) -> bool:
    if rule.endpoint not in ("*", call.endpoint):
        return False
    match: Match = rule.match
    return (
        match.model in (None, call.model)
        and match.queue_id in (None, call.queue_id)
        and match.prompt_sha256 in (None, call.prompt_sha256)
        and match.key in (None, call.key)
        and (match.prompt_contains is None or match.prompt_contains in (call.prompt or ""))
        and (match.answer is None or match.answer == _kind(answer))
    )


def _kind(answer: Answer | None) -> str | None:
    if answer is None:
        return None
    return VIDEO if answer.content_type == MP4 else OTHER
