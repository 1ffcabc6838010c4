"""A stored video as an answer: opened, sent, and its delivery noted. A job whose video is not here
is told so by its state, never by a partial file.
"""

from __future__ import annotations

from typing import NoReturn

from starlette.types import ASGIApp

from gateway.api.files import VideoResponse
from gateway.api.services import Services
from gateway.core.errors import MediaNotFound, OutcomeUnknown, UpstreamInvalid
from gateway.core.job import State
from gateway.records import Job

_DOUBTED = frozenset({State.IN_DOUBT, State.SETTLED_IN_DOUBT})
_WORKING = frozenset({State.PROCESSING, State.FETCHING})
_UNDELIVERABLE = frozenset({State.UNDELIVERABLE, State.STALLED})


def is_servable(services: Services, job: Job) -> bool:
    """Whether the video is here and its user has not done away with it."""
    return job.state is State.STORED and not _is_given_up(services, job)


def _is_given_up(services: Services, job: Job) -> bool:
    return job.completed_at is not None and services.rulebook.videos.on_complete == "purge"


async def call_back(services: Services, job: Job) -> Job:
    """Have a video that made room for others fetched again, if that can be; the job as it is."""
    if _is_given_up(services, job):
        return job
    return await services.deliveries.call_back(job)


def is_working(job: Job) -> bool:
    """Whether the video is still in the making, or on its way here."""
    return job.state in _WORKING


def raise_for_state(job: Job) -> NoReturn:
    """Raise what a job that has no video, and never failed at Venice's word, is answered with."""
    if job.state in _DOUBTED:
        raise OutcomeUnknown(job.id)
    if job.state in _UNDELIVERABLE:
        raise UpstreamInvalid(
            f"Venice finished this job but its video cannot be delivered ({job.reason}). It is "
            "paid for; an administrator has been told and can have it fetched again."
        )
    raise MediaNotFound


async def send_video(services: Services, job: Job, *, as_file: bool = False) -> ASGIApp | None:
    """The video as a response; None where ours turned out damaged, or went: the book knows."""
    video = await services.deliveries.open(job)
    if video is None:
        return None

    async def on_end(whole: bool) -> None:
        if whole:
            await services.deliveries.note_delivered(services.book.known(job.id) or job)

    return VideoResponse(
        video,
        queue_id=job.queue_id or job.id,
        disposition="attachment" if as_file else "inline",
        on_end=on_end,
    )
