"""``POST /video/quote``: the price of what the caller says it will order; nothing is checked."""

from gateway.simulator.answers import Answer, invalid_answer, json_answer
from gateway.simulator.bodies import QUOTE, check_fields
from gateway.simulator.calls import Call
from gateway.simulator.constraints import find_model, read_quote
from gateway.simulator.doors.body import NOT_AN_OBJECT
from gateway.simulator.front import Simulator
from gateway.simulator.money import plain
from gateway.simulator.prices import price


def quote(simulator: Simulator, call: Call) -> Answer:
    """USD as one exact number, with as many digits as the price has."""
    if call.body is None:
        return invalid_answer([NOT_AN_OBJECT])
    issues = check_fields(call.body, QUOTE, is_closed=False)
    if issues:
        return invalid_answer(issues)
    model, issues = find_model(simulator.catalogue, call.body)
    if model is None:
        return invalid_answer(issues)
    order, issues = read_quote(model, call.body)
    if order is None:
        return invalid_answer(issues)
    return json_answer({"quote": plain(price(model, order))})
