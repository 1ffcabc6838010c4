"""One job with venice-sdk through its public interface; run by that client's environment."""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pausing import pause
from venice_sdk import VeniceClient
from venice_sdk.client import HTTPClient

MODEL = os.environ["JOB_MODEL"]
OUTPUT = Path(os.environ["JOB_OUTPUT"])
REQUEST = {
    "model": MODEL,
    "prompt": "A gondola at sunset",
    "duration": 5,
    "resolution": "480p",
    "aspect_ratio": "16:9",
}
PATIENCE = os.environ.get("JOB_PATIENCE_SECONDS")


def hurry(http: HTTPClient, seconds: float) -> None:
    """Have it wait so long where it names a limit of its own, which is for an order alone.

    That limit is 120 s, and no setting changes it; what follows when it is over stays its own.
    """
    post = http.post

    def post_in_time(endpoint: str, **options: Any) -> Any:
        return post(endpoint, **options | ({"timeout": seconds} if "timeout" in options else {}))

    http.post = post_in_time


video = VeniceClient().video
if PATIENCE:
    hurry(video.client, float(PATIENCE))
seen: list[object] = []
quote = video.quote(**REQUEST)  # sends the prompt along, which prices nothing
queued = video.queue(**REQUEST)
pause()
job = video.wait_for_completion(
    queued.job_id, model=MODEL, poll_interval=0.25, max_wait_time=30, callback=seen.append
)
job.download(OUTPUT)
cleaned = video.cleanup(queued.job_id, MODEL)
print(
    json.dumps(
        {
            "versions": [version("venice-sdk")],
            "quote": quote.estimated_cost,
            "queue_id": queued.job_id,
            "polls": len(seen),
            "delivered_by": "retrieve" if job.video_file_path else "video_url",
            "bytes": OUTPUT.stat().st_size,
            "completed": cleaned.get("success"),
        }
    )
)
