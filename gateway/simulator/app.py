"""The stand-in as one web application; every address it answers is on this page."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.simulator.answers import error_answer
from gateway.simulator.catalogue import load_catalogue
from gateway.simulator.control import control_routes
from gateway.simulator.damage import pace_of
from gateway.simulator.delivery import Delivery
from gateway.simulator.doors.account import balance, rate_limits
from gateway.simulator.doors.complete import complete
from gateway.simulator.doors.download import download
from gateway.simulator.doors.listing import list_models
from gateway.simulator.doors.queue import LINK_PATH, queue
from gateway.simulator.doors.quote import quote
from gateway.simulator.doors.retrieve import retrieve
from gateway.simulator.doors.usage import usage_history
from gateway.simulator.faults import FaultPlan
from gateway.simulator.front import Access, Door, Simulator, desk
from gateway.simulator.jobs import Jobs
from gateway.simulator.limits import KeyLimits
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.store import Store
from gateway.simulator.truth import Truth

PREFIX = "/api/v1"


def create_app(settings: SimulatorSettings, clock: Callable[[], float] = time.time) -> Starlette:
    """A fresh stand-in, or the one whose state lies in ``settings.data_dir``.

    ``clock`` gives Unix seconds. Who runs it without its lifespan closes
    ``app.state.simulator.store`` at the end. Raises ValueError for a catalogue that makes no sense.
    """
    simulator = _assemble(settings, clock)

    def route(path: str, name: str, door: Door, access: Access, *methods: str) -> Route:
        return Route(path, desk(simulator, name, door, access), methods=list(methods))

    key, billing, anyone = Access.INFERENCE, Access.BILLING, Access.OPEN

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        simulator.store.close()

    app = Starlette(
        routes=[
            route(f"{PREFIX}/video/quote", "quote", quote, key, "POST"),
            route(f"{PREFIX}/video/queue", "queue", queue, key, "POST"),
            route(f"{PREFIX}/video/retrieve", "retrieve", retrieve, key, "POST"),
            route(f"{PREFIX}/video/complete", "complete", complete, key, "POST"),
            route(f"{PREFIX}/models", "models", list_models, anyone, "GET"),
            route(f"{PREFIX}/api_keys/rate_limits", "rate_limits", rate_limits, key, "GET"),
            route(f"{PREFIX}/billing/balance", "balance", balance, billing, "GET"),
            route(f"{PREFIX}/billing/usage-history", "usage", usage_history, billing, "GET"),
            route(LINK_PATH + "{secret}", "download", download, anyone, "GET", "DELETE"),
            *control_routes(simulator),
        ],
        exception_handlers={HTTPException: _in_json},
        lifespan=lifespan,
    )
    app.state.simulator = simulator
    return app


def _assemble(settings: SimulatorSettings, clock: Callable[[], float]) -> Simulator:
    store = Store(settings.data_dir)
    jobs = Jobs(settings, store)
    return Simulator(
        settings=settings,
        clock=clock,
        store=store,
        catalogue=load_catalogue(settings.catalogue),
        jobs=jobs,
        truth=Truth(store, jobs),
        limits=KeyLimits(settings, store, clock()),
        faults=FaultPlan(store, settings.seed),
    )


async def _in_json(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = error_answer(error.status_code, error.detail)
    answer.headers.update(error.headers or {})
    return Delivery(answer, pace_of(None), sends_body=True)
