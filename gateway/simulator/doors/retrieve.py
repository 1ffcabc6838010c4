"""``POST /video/retrieve``: how a job is doing, or its video; private models never get bytes."""

from sqlite3 import Row

from gateway.simulator.answers import (
    MP4,
    Answer,
    invalid_answer,
    json_answer,
    media_not_found,
)
from gateway.simulator.bodies import RETRIEVE, check_fields
from gateway.simulator.calls import Call
from gateway.simulator.doors.body import NOT_AN_OBJECT
from gateway.simulator.front import Simulator
from gateway.simulator.jobs import (
    FAIL_REFUNDED_FLAT,
    FAIL_REFUNDED_NESTED,
    FAILED_STATUS,
    LOST,
    job_state,
    video_of,
)

POLICY_MESSAGE = "The selected model provider rejected this request due to its content policies."


def retrieve(simulator: Simulator, call: Call) -> Answer:
    """PROCESSING, COMPLETED, the mp4, or how the job ended; 404 for whatever is not there."""
    if call.body is None:
        return invalid_answer([NOT_AN_OBJECT])
    issues = check_fields(call.body, RETRIEVE, is_closed=True)
    if issues:
        return invalid_answer(issues)
    job = simulator.jobs.find(call.body["queue_id"])
    if job is None or job["model"] != call.body["model"]:
        return media_not_found()
    simulator.jobs.count_retrieve(job["queue_id"])
    now = simulator.clock()
    state = job_state(job, now)
    if job["deleted"] or state == LOST:
        return media_not_found()
    if state in ("processing", "stuck"):
        return _status(job, "PROCESSING", now)
    if state == "failed":
        return _failure(job)
    return _finished(simulator, job, bool(call.body.get("delete_media_on_completion")))


def _status(job: Row, status: str, now: float, error: str | None = None) -> Answer:
    body = {
        "status": status,
        "average_execution_time": job["average_ms"],
        "execution_duration": max(0, round((now - job["accepted_at"]) * 1000)),
    }
    return json_answer(body if error is None else {**body, "error": error})


def _finished(simulator: Simulator, job: Row, deletes: bool) -> Answer:
    if job["link_sha256"] is not None:
        return _status(job, "COMPLETED", job["ready_at"])
    queue_id = job["queue_id"]
    if deletes:
        # As unforgiving as it gets: the copy is gone even if this download breaks.
        simulator.jobs.delete(queue_id)
    return Answer(200, video_of(job), MP4, delivered=lambda: simulator.jobs.count_served(queue_id))


def _failure(job: Row) -> Answer:
    outcome = job["outcome"]
    if outcome == FAILED_STATUS:
        return _status(job, "FAILED", job["ready_at"], "Inference processing failed")
    if outcome == FAIL_REFUNDED_FLAT:
        return json_answer({"error": POLICY_MESSAGE, "credits_refunded": True}, 422)
    return _nested(outcome == FAIL_REFUNDED_NESTED)


def _nested(is_refunded: bool) -> Answer:
    refund = " Credits have been refunded." if is_refunded else ""
    error = {
        "message": POLICY_MESSAGE + refund,
        "type": "provider_content_policy",
        "recommended_model": "wan-2.2-a14b-text-to-video",
        "credits_refunded": is_refunded,
    }
    return json_answer({"error": error}, 422)
