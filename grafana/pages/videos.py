"""The dashboard *Videos*: where jobs stand, how videos come in, and whether the disk has room."""

from __future__ import annotations

from grafana.vocabulary import RANGE, RATE, Page, Panel, Query, Row, Step, metric, quantile, rate

ASKED = metric("video_hits_total")
HITS = metric("video_hits_total", 'result="hit"')
OPEN = 'state=~"reserved|sending|processing|fetching|in_doubt"'
MAKING = metric("jobs", 'state=~"reserved|sending|processing|fetching"')
ENDED = 'state!~"reserved|sending|processing|fetching|in_doubt"'

NOW = Row(
    "Now",
    [
        Panel(
            "In the making",
            "How many jobs are on their way?",
            "stat",
            "count",
            [Query(f"sum by (instance) ({MAKING})")],
            width=6,
            height=4,
        ),
        Panel(
            "Stored",
            "How much disk do videos take?",
            "stat",
            "bytes",
            [Query(metric("video_store_bytes"))],
            width=6,
            height=4,
        ),
        Panel(
            "Here when asked for",
            "What part of the videos asked for were here, and whole, in the range shown?",
            "stat",
            "ratio",
            [
                Query(
                    f"sum by (instance) (increase({HITS}[{RANGE}])) / "
                    f"sum by (instance) (increase({ASKED}[{RANGE}]))"
                )
            ],
            width=6,
            height=4,
        ),
        Panel(
            "Suspiciously small",
            "How many finished videos are too small to be real, since the start?",
            "stat",
            "count",
            [Query(metric("suspicious_videos_total"))],
            width=6,
            height=4,
            steps=[Step("orange", 1)],
        ),
    ],
)
COMING = Row(
    "Coming in",
    [
        Panel(
            "Jobs by state",
            "Where do jobs stand that are not over?",
            "stacked",
            "count",
            [Query(metric("jobs", OPEN), "{{state}}")],
        ),
        Panel(
            "Ends",
            "How did all jobs end?",
            "lines",
            "count",
            [Query(metric("jobs", ENDED), "{{state}}")],
        ),
        Panel(
            "Time of a fill",
            "How long does it take to take in a video?",
            "lines",
            "seconds",
            [
                Query(quantile(0.5, "video_fill_seconds"), "half of them"),
                Query(quantile(0.95, "video_fill_seconds"), "95 %"),
            ],
        ),
        Panel(
            "Ready to stored, as a map",
            "How are the times from the news to the store spread?",
            "heatmap",
            "seconds",
            [
                Query(
                    f"sum by (le) (increase({metric('ready_to_stored_seconds_bucket')}[{RATE}]))",
                    "{{le}}",
                )
            ],
            width=12,
        ),
        Panel(
            "Taken in from Venice",
            "How much comes in?",
            "lines",
            "bytes/s",
            [Query(rate("video_fetched_bytes_total"), "from Venice")],
            width=12,
        ),
    ],
)
KEEPING = Row(
    "Kept and let go",
    [
        Panel(
            "Asked for",
            "Were they here, and whole?",
            "stacked",
            "per second",
            [Query(f"sum by (result) ({rate('video_hits_total')})", "{{result}}")],
        ),
        Panel(
            "Let go",
            "Why are videos removed?",
            "bars",
            "count",
            [
                Query(
                    f"sum by (reason) (increase({metric('video_evictions_total')}[{RATE}]))",
                    "{{reason}}",
                )
            ],
        ),
        Panel(
            "Room",
            "How far are the disks from the point at which no order is taken?",
            "lines",
            "bytes",
            [
                Query(metric("disk_free_bytes"), "free, {{place}}"),
                Query(metric("disk_free_wanted_bytes"), "no order below"),
            ],
        ),
        Panel(
            "Within bounds",
            "How much may videos take, and how much do they?",
            "lines",
            "bytes",
            [
                Query(metric("video_quota_bytes"), "may take"),
                Query(metric("video_store_bytes"), "take"),
            ],
        ),
        Panel(
            "Damaged",
            "Were stored videos found missing or altered, and by whom?",
            "bars",
            "count",
            [
                Query(
                    f"sum by (found_by) (increase({metric('video_damage_total')}[{RATE}]))",
                    "{{found_by}}",
                )
            ],
        ),
        Panel(
            "About to expire",
            "How many videos that nobody has yet will be purged within 48 hours?",
            "lines",
            "count",
            [Query(metric("videos_expiring"), "never fetched")],
        ),
    ],
)

PAGE = Page(
    uid="venice-gateway-videos",
    title="Venice gateway: videos",
    description="Where jobs stand, how videos come in, and whether the disk has room for them.",
    rows=[NOW, COMING, KEEPING],
)
