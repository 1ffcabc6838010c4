"""One job with venice-py as its own documentation shows it; run by that client's environment.

Its rate limiter is on: it reads every `x-ratelimit-*` header and stops at one that is no integer.
"""

import asyncio
import json
import os
from importlib.metadata import version
from pathlib import Path

import aiohttp  # type: ignore[import-not-found]  # it is there where this runs
from pausing import pause
from venice_ai import VeniceClient
from venice_ai.rate_limiting import SimpleRateLimiter

MODEL = os.environ["JOB_MODEL"]
OUTPUT = Path(os.environ["JOB_OUTPUT"])
PRICING = {"model": MODEL, "duration_seconds": 5, "resolution": "480p", "aspect_ratio": "16:9"}
# It waits 120 s for any answer; a setting of its own changes that. What is free it asks again after
# a timeout, so this costs it nothing but its order.
PATIENCE = os.environ.get("JOB_PATIENCE_SECONDS")
SETTINGS = {"timeout": aiohttp.ClientTimeout(120, sock_read=float(PATIENCE))} if PATIENCE else {}


async def main() -> None:
    """Lists, quotes, queues, waits, downloads; leaving the block completes the job."""
    polls = 0

    def count(_status: object) -> None:
        nonlocal polls
        polls += 1

    async with VeniceClient(rate_limiter=SimpleRateLimiter(), **SETTINGS) as client:
        listing = await client.models.list(type="video")
        quote = await client.video.quote(**PRICING)
        cheapest = await client.models.resolve_cheapest_video(video_type="text-to-video")
        async with await client.video.run(prompt="A gondola at sunset", **PRICING) as job:
            await asyncio.to_thread(pause)
            status = await job.wait(poll_interval=0.25, on_progress=count)
            await job.download(OUTPUT, status)
        released = job._released
        remembered = job._download_url
    print(
        json.dumps(
            {
                "versions": [version("venice-py"), version("venice-ai")],
                "models": len(listing.data),
                "quote": quote.quote,
                "quoted_models": len(cheapest.all_quotes),
                "queue_id": job.queue_id,
                "download_url": remembered,
                "polls": polls + 1,
                "delivered_by": "retrieve" if status.data else "url",
                "bytes": (await asyncio.to_thread(OUTPUT.stat)).st_size,
                "completed": released,
            }
        )
    )


asyncio.run(main())
