"""The flow of Venice's video guide with nothing but the standard library.

Quote, queue, poll until the answer's type is video/mp4, save it, clean up.
"""

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from pausing import pause

BASE_URL = os.environ["VENICE_URL"]
MODEL = os.environ["JOB_MODEL"]
OUTPUT = Path(os.environ["JOB_OUTPUT"])
HEADERS = {
    "Authorization": f"Bearer {os.environ['VENICE_API_KEY']}",
    "Content-Type": "application/json",
}


def post(path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    """The answer's Content-Type and body; an error status raises."""
    request = urllib.request.Request(BASE_URL + path, json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read()


pricing = {"model": MODEL, "duration": "5s", "resolution": "480p", "aspect_ratio": "16:9"}
quote = json.loads(post("/video/quote", pricing)[1])["quote"]

queued = json.loads(post("/video/queue", {**pricing, "prompt": "A gondola at sunset"})[1])
job = {"model": queued["model"], "queue_id": queued["queue_id"]}
pause()

polls, delivered_by = 0, "retrieve"
while True:
    polls += 1
    content_type, content = post("/video/retrieve", job)
    if content_type.startswith("video/mp4"):
        break
    status = json.loads(content)
    if status["status"] == "COMPLETED":  # only where the queue answer carried a link
        delivered_by = "download_url"
        with urllib.request.urlopen(queued["download_url"], timeout=30) as answer:
            content = answer.read()
        break
    if status["status"] == "FAILED":
        raise SystemExit(f"the job failed: {status}")
    time.sleep(0.25)
OUTPUT.write_bytes(content)

if delivered_by == "retrieve":
    completed = json.loads(post("/video/complete", job)[1])["success"]
else:  # such a file is not known to /video/complete: deleting the link is what revokes it
    revoke = urllib.request.Request(queued["download_url"], method="DELETE")
    with urllib.request.urlopen(revoke, timeout=30) as answer:
        completed = answer.status < 300
print(
    json.dumps(
        {
            "quote": quote,
            "queue_id": job["queue_id"],
            "download_url": queued.get("download_url"),
            "polls": polls,
            "delivered_by": delivered_by,
            "bytes": len(content),
            "completed": completed,
        }
    )
)
