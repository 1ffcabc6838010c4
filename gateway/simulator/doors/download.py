"""The download links of private models: secret, good for a day, deletable, not for crowds."""

from sqlite3 import Row

from gateway.simulator.answers import MP4, Answer, error_answer, json_answer, media_not_found
from gateway.simulator.calls import Call
from gateway.simulator.front import Simulator
from gateway.simulator.jobs import job_state, video_of

LINK_SECONDS_MAX = 24 * 3600


def download(simulator: Simulator, call: Call) -> Answer:
    """GET or HEAD: the video once it is ready. DELETE: gone for good."""
    job = simulator.jobs.find_by_link(call.request.path_params["secret"])
    if job is None:
        return media_not_found()
    now = simulator.clock()
    if job["deleted"] or now > job["accepted_at"] + LINK_SECONDS_MAX:
        return error_answer(410, "This link is no longer valid.")
    if call.request.method == "DELETE":
        simulator.jobs.delete(job["queue_id"])
        return json_answer({"success": True})
    if job_state(job, now) != "ready":
        return media_not_found()
    return _video(simulator, call, job)


def _video(simulator: Simulator, call: Call, job: Row) -> Answer:
    queue_id = job["queue_id"]
    if call.request.method == "HEAD":
        return Answer(200, video_of(job), MP4)
    if job["link_downloads"] >= simulator.settings.link_downloads_max:
        return error_answer(429, "This link was used too often.")
    simulator.jobs.count_download(queue_id)
    return Answer(200, video_of(job), MP4, delivered=lambda: simulator.jobs.count_served(queue_id))
