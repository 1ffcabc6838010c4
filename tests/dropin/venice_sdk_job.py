"""One job with venice-sdk through its public interface; run by that client's environment."""

import json
import os
from importlib.metadata import version
from pathlib import Path

from pausing import pause
from venice_sdk import VeniceClient

MODEL = os.environ["JOB_MODEL"]
OUTPUT = Path(os.environ["JOB_OUTPUT"])
REQUEST = {
    "model": MODEL,
    "prompt": "A gondola at sunset",
    "duration": 5,
    "resolution": "480p",
    "aspect_ratio": "16:9",
}

video = VeniceClient().video
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
