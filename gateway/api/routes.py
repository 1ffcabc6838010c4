"""The whole HTTP surface on one page: which path, which methods, which door."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import BaseRoute, Route

from gateway.api import openapi, probes
from gateway.api.admin import routes as admin
from gateway.api.own import dry_run, events, jobs, me, media, usage, videos, webhook
from gateway.api.venice import balance, complete, models, queue, quote, rate_limits, retrieve

VENICE_DOORS = {
    "quote": Route("/api/v1/video/quote", quote.quote, methods=["POST"]),
    "queue": Route("/api/v1/video/queue", queue.queue, methods=["POST"]),
    "retrieve": Route("/api/v1/video/retrieve", retrieve.retrieve, methods=["POST"]),
    "complete": Route("/api/v1/video/complete", complete.complete, methods=["POST"]),
    "models": Route("/api/v1/models", models.models, methods=["GET"]),
    "balance": Route("/api/v1/billing/balance", balance.balance, methods=["GET"]),
    "rate_limits": Route("/api/v1/api_keys/rate_limits", rate_limits.rate_limits, methods=["GET"]),
}

OWN_DOORS = {
    "me": Route("/gateway/v1/me", me.me, methods=["GET"]),
    "webhook": Route("/gateway/v1/me/webhook", webhook.webhook, methods=["GET", "PUT", "DELETE"]),
    "usage": Route("/gateway/v1/usage", usage.usage, methods=["GET"]),
    "refusals": Route("/gateway/v1/refusals", usage.refusals, methods=["GET"]),
    "jobs": Route("/gateway/v1/jobs", jobs.jobs, methods=["GET"]),
    "job": Route("/gateway/v1/jobs/{id}", jobs.job, methods=["GET"]),
    "job_events": Route("/gateway/v1/jobs/{id}/events", events.events, methods=["GET"]),
    "job_links": Route("/gateway/v1/jobs/{id}/links", jobs.links, methods=["POST"]),
    "dry_run": Route("/gateway/v1/dry-run", dry_run.dry_run, methods=["POST"]),
    "videos": Route("/gateway/v1/videos/{id}", videos.video, methods=["GET"]),
    "openapi": Route("/gateway/v1/openapi.json", openapi.openapi, methods=["GET"]),
    "media": Route("/gateway/v1/media/{token}", media.media, methods=["GET", "DELETE"]),
}

OPEN_DOORS = {
    "livez": Route("/livez", probes.livez, methods=["GET"]),
    "readyz": Route("/readyz", probes.readyz, methods=["GET"]),
    "metrics": Route("/metrics", probes.metrics, methods=["GET"]),
}

DOORS: dict[str, Route] = {**VENICE_DOORS, **OWN_DOORS, **admin.DOORS, **OPEN_DOORS}
"""Every door by the name that metrics and logs know it by."""


def in_order(doors: Mapping[str, Route]) -> list[BaseRoute]:
    """The routes of some doors, the one that is asked most first."""
    first = [route for name, route in doors.items() if name == "retrieve"]
    return [*first, *(route for name, route in doors.items() if name != "retrieve")]
