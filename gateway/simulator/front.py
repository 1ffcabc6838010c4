"""The front desk every call passes: read, record, key, limits, fault plan, door, headers, send."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.simulator.answers import Answer, error_answer
from gateway.simulator.calls import BodyTooLarge, Call, read_call
from gateway.simulator.catalogue import Catalogue
from gateway.simulator.damage import damaged, pace_of
from gateway.simulator.delivery import Delivery, Drop
from gateway.simulator.faults import FaultPlan
from gateway.simulator.jobs import Jobs
from gateway.simulator.limits import KeyLimits
from gateway.simulator.money import usd_number
from gateway.simulator.rules import BEFORE_ACCEPT, BEFORE_ANSWER, Action
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.store import Store
from gateway.simulator.truth import Truth


class Access(Enum):
    """What kind of key a door asks for."""

    OPEN = "open"
    INFERENCE = "inference"
    BILLING = "billing"


@dataclass
class Simulator:
    """All parts of a running stand-in; ``clock`` gives Unix seconds."""

    settings: SimulatorSettings
    clock: Callable[[], float]
    store: Store
    catalogue: Catalogue
    jobs: Jobs
    truth: Truth
    limits: KeyLimits
    faults: FaultPlan


Door = Callable[[Simulator, Call], Answer]
Endpoint = Callable[[Request], Awaitable[Response]]


def desk(simulator: Simulator, name: str, door: Door, access: Access) -> Endpoint:
    """The web endpoint of a door, called ``name`` in truth and fault plan."""

    async def endpoint(request: Request) -> Response:
        try:
            call = await read_call(name, request, simulator.clock())
        except ClientDisconnect:
            return Drop(is_reset=False)
        except BodyTooLarge:
            too_large = error_answer(413, "Request body is too large.", "PAYLOAD_TOO_LARGE")
            return Delivery(too_large, pace_of(None), sends_body=True)
        _name_the_job(simulator, call)
        simulator.truth.arrived(call)
        refusal = _refusal(simulator, call, access)
        if refusal is not None:
            return _send(simulator, call, refusal, None)
        return await _serve(simulator, call, door)

    return endpoint


def _name_the_job(simulator: Simulator, call: Call) -> None:
    """Say which job a download link is about, and the prompt of any job, for the fault plan."""
    job = None
    if "secret" in call.request.path_params:
        job = simulator.jobs.find_by_link(call.request.path_params["secret"])
    elif call.queue_id is not None:
        job = simulator.jobs.find(call.queue_id)
    if job is not None:
        call.queue_id, call.model = job["queue_id"], call.model or job["model"]
        call.prompt_sha256 = job["prompt_sha256"]


def _refusal(simulator: Simulator, call: Call, access: Access) -> Answer | None:
    if access is Access.OPEN and call.token is None:
        return None
    settings = simulator.settings
    is_refused = call.token is None or call.token in settings.refused_keys
    if is_refused or (access is Access.BILLING and call.token not in settings.billing_keys):
        refusal = error_answer(401, "Authentication failed")
        refusal.refused_by = "key"
        return refusal
    assert call.key is not None
    return simulator.limits.admit(call.key, call.endpoint, call.at)


async def _serve(simulator: Simulator, call: Call, door: Door) -> Response:
    action = simulator.faults.action(call, BEFORE_ACCEPT)
    if action is not None:
        await asyncio.sleep(action.delay_seconds)
        if action.replaces_answer:
            return _send(simulator, call, damaged(None, action), action)
    answer = door(simulator, call)
    action = simulator.faults.action(call, BEFORE_ANSWER, answer)
    if action is not None:
        await asyncio.sleep(action.delay_seconds)
        answer = damaged(answer, action)
    return _send(simulator, call, answer, action)


def _send(simulator: Simulator, call: Call, answer: Answer, action: Action | None) -> Response:
    if action is not None and action.drop:
        simulator.truth.answering(call, None)
        return Drop(is_reset=action.drop == "reset")
    now = simulator.clock()
    simulator.truth.answering(call, answer)
    if call.key is not None and answer.refused_by != "block":
        if answer.status >= 400:
            simulator.limits.note_failure(call.key, now)
        if answer.status != 401:
            # What a door or a fault says goes before what is always said.
            answer.headers = {**_usual_headers(simulator, call, now), **answer.headers}
    return Delivery(answer, pace_of(action), sends_body=call.request.method != "HEAD")


def _usual_headers(simulator: Simulator, call: Call, now: float) -> dict[str, str]:
    assert call.key is not None
    headers = simulator.limits.headers(call.key, call.endpoint, now)
    headers["x-venice-balance-usd"] = format(usd_number(simulator.jobs.balance(now)), "f")
    headers["x-venice-balance-diem"] = "0"
    model = simulator.catalogue.video.get(call.model or "")
    if model is not None:
        headers["x-venice-model-id"] = model.id
        if model.deprecation is not None:
            headers["x-venice-model-deprecation-date"] = model.deprecation["date"]
            headers["x-venice-model-deprecation-warning"] = (
                f"{model.id} is deprecated. Use {model.deprecation['replacementModelId']} instead."
            )
    return headers
