"""``POST /video/complete``: deletes a finished video; a running job goes on as if nothing was."""

from gateway.simulator.answers import Answer, invalid_answer, json_answer, request_id_invalid
from gateway.simulator.bodies import COMPLETE, check_fields
from gateway.simulator.calls import Call
from gateway.simulator.doors.body import NOT_AN_OBJECT
from gateway.simulator.front import Simulator
from gateway.simulator.jobs import job_state


def complete(simulator: Simulator, call: Call) -> Answer:
    """``{"success": true}``; 400 for unknown ids and for jobs with a download link."""
    if call.body is None:
        return invalid_answer([NOT_AN_OBJECT])
    issues = check_fields(call.body, COMPLETE, is_closed=True)
    if issues:
        return invalid_answer(issues)
    job = simulator.jobs.find(call.body["queue_id"])
    if job is None or job["model"] != call.body["model"] or job["link_sha256"] is not None:
        return request_id_invalid()
    if job_state(job, simulator.clock()) == "ready":
        simulator.jobs.delete(job["queue_id"])
    return json_answer({"success": True})
