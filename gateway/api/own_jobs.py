"""The caller's own jobs: found by either id, or not found in the one way that tells nothing."""

from __future__ import annotations

from typing import Any

from gateway.api.services import Services
from gateway.core.answers import is_id
from gateway.core.errors import InvalidRequest, Issue, MediaNotFound
from gateway.logs import note_job
from gateway.records import Caller, Job


async def own_job(services: Services, caller: Caller, any_id: Any) -> Job:
    """The caller's job by its queue_id or its own id; `MediaNotFound` for any other."""
    if not isinstance(any_id, str):
        raise InvalidRequest([Issue(("queue_id",), "Required", "invalid_type")])
    if not is_id(any_id):
        raise MediaNotFound
    job = services.book.known(any_id) or await services.book.find(any_id)
    if job is None or job.user != caller.user.name:
        raise MediaNotFound
    note_job(job)
    return job
