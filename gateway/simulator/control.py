"""The stand-in's own pages, which Venice does not have: the truth, the fault plan, the bill."""

from decimal import Decimal, InvalidOperation

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.simulator.bill import Bill
from gateway.simulator.front import Simulator
from gateway.simulator.json_text import from_json, to_json
from gateway.simulator.rules import RuleRefused


def control_routes(simulator: Simulator) -> list[BaseRoute]:
    """``/_truth``, ``/_faults``, ``/_bill``; they ask for no key, so the port stays on loopback."""
    pages = _Pages(simulator)
    return [
        Route("/_truth", pages.truth, methods=["GET", "DELETE"]),
        Route("/_faults", pages.faults, methods=["GET", "POST", "PUT", "DELETE"]),
        Route("/_bill", pages.bill, methods=["GET", "POST", "PUT"]),
    ]


class _Pages:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._bill = Bill(simulator.store)

    async def truth(self, request: Request) -> Response:
        """GET tells everything (``?since=SEQ`` shortens the calls); DELETE forgets everything."""
        simulator = self._simulator
        now = simulator.clock()
        if request.method == "DELETE":
            simulator.truth.forget()
            simulator.jobs.recall()
            simulator.limits.recall(now)
            return _told({"success": True})
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return _told({"error": "since must be a number"}, 400)
        return _told(simulator.truth.report(int(since), now))

    async def faults(self, request: Request) -> Response:
        """POST adds rules, PUT replaces all, DELETE clears; each answers with the plan."""
        plan = self._simulator.faults
        if request.method == "DELETE":
            plan.clear()
        elif request.method in ("POST", "PUT"):
            change = plan.append if request.method == "POST" else plan.replace
            try:
                rules = from_json(await request.body())
                change(rules if isinstance(rules, list) else [rules])
            except (RuleRefused, ValueError) as error:
                return _told({"error": str(error)}, 400)
        return _told(plan.report())

    async def bill(self, request: Request) -> Response:
        """POST plants rows, PUT alters the charge of jobs; each answers with the whole bill."""
        try:
            if request.method == "POST":
                for row in from_json(await request.body()):
                    self._bill.plant(row, self._simulator.clock())
            elif request.method == "PUT":
                for change in from_json(await request.body()):
                    amount = change["amount_usd"]
                    self._bill.alter(
                        change["queue_id"], None if amount is None else Decimal(amount)
                    )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            return _told({"error": f"not understood: {error!r}"}, 400)
        return _told(self._bill.report())


def _told(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")
