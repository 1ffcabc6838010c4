"""`POST /video/queue`: order a video. While the order is under way its client is watched, so that
one that left can be told from one that has its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.authenticate import caller_of
from gateway.api.reading import (
    PARSED_ON_LOOP_BYTES_MAX,
    read_idempotency_key,
    read_object,
    read_tags,
)
from gateway.api.services import Services, services_of
from gateway.core.json_text import encode
from gateway.core.strictjson import parse_object
from gateway.logs import note_job
from gateway.orders import Presence, QueueAnswer, QueueRequest, body_digest


class QueueResponse(Response):
    """An answer that tells the order whether it was delivered."""

    def __init__(self, services: Services, answer: QueueAnswer, presence: Presence) -> None:
        self._orders = services.orders
        self._answer = answer
        self._presence = presence
        content = encode(_body(services, answer))
        super().__init__(content, headers=_headers(answer), media_type="application/json")

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it; what counts is whether the client was there when the last byte went out."""
        delivered = False
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            delivered = self._presence.is_here
            await send({"type": "http.response.body", "body": self.body})
        finally:
            await self._orders.delivered(self._answer, delivered)


async def queue(request: Request) -> Response:
    """Order a video, once per intent."""
    services = services_of(request)
    caller = caller_of(request)
    body = await read_object(request)
    presence = Presence()
    watching = asyncio.create_task(_watch(request, presence))
    try:
        answer = await services.orders.submit(
            QueueRequest(
                caller=caller,
                body=body,
                body_digest=await _digest(request, body),
                presence=presence,
                idempotency_key=read_idempotency_key(request),
                tags=read_tags(request),
                force_new=request.headers.get("x-gateway-force-new", "").lower() == "true",
            )
        )
        note_job(answer.job)
    finally:
        # One more turn of the loop, so that a disconnect that has arrived is seen.
        await asyncio.sleep(0)
        watching.cancel()
    try:
        return QueueResponse(services, answer, presence)
    except Exception:
        await services.orders.delivered(answer, whole=False)
        raise


async def _digest(request: Request, body: dict[str, Any]) -> str:
    """The body's digest, made beside the event loop where media come with it."""
    if int(request.headers.get("content-length", "0")) <= PARSED_ON_LOOP_BYTES_MAX:
        return body_digest(body)
    return await asyncio.to_thread(body_digest, body)


async def _watch(request: Request, presence: Presence) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
    presence.leave()


def _body(services: Services, answer: QueueAnswer) -> dict[str, Any]:
    """What Venice answered, its download link replaced by ours."""
    job = answer.job
    body = parse_object((job.answer or "{}").encode())
    body |= {"model": body.get("model", job.model), "queue_id": job.queue_id}
    if job.is_private:
        body["download_url"] = services.links.of(job)
    return body


def _headers(answer: QueueAnswer) -> dict[str, str]:
    job = answer.job
    headers = {"x-gateway-job": job.id, "x-gateway-cost-usd": str(job.quote)}
    if job.remaining is not None:
        headers["x-gateway-budget-remaining-usd"] = str(job.remaining)
    if answer.is_joined:
        headers["x-gateway-joined"] = "true"
    if answer.is_replayed:
        headers["idempotent-replayed"] = "true"
    return headers
