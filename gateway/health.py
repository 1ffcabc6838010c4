"""What keeps the gateway from serving, and how each part stands, in operators' words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.rules import Rules
from gateway.spending import Spending
from gateway.submit import Orders


class Health:
    """What the probes ask; it never asks Venice.

    Stopped spending is no reason to send clients elsewhere: jobs and videos are served.
    """

    def __init__(
        self,
        spending: Spending,
        rules: Rules,
        orders: Orders,
        parts: Mapping[str, Callable[[], str]],
    ) -> None:
        """`parts` are further ones by name, each with how it stands."""
        self._spending = spending
        self._rules = rules
        self._orders = orders
        self._parts = parts

    def problems(self) -> dict[str, str]:
        """What keeps the gateway from serving, by part; empty when nothing does."""
        found = {}
        if self._spending.is_draining:
            found["service"] = "draining: restarting or stopping"
        return found

    def details(self) -> dict[str, str]:
        """How each part stands."""
        stopped = self._spending.stopped
        policies = f"version {self._rules.current.version}"
        if self._rules.trouble:
            policies += f" stands, the files on disk are refused: {self._rules.trouble}"
        return {
            "spending": "on" if stopped is None else f"stopped: {stopped}",
            "policies": policies,
            **{name: how() for name, how in self._parts.items()},
            "orders": f"{self._orders.in_flight} under way",
        }
