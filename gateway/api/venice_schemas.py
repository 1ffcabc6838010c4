"""What Venice's own paths take and answer, as `openapi.json` says it: the fields that its clients
read. Venice may add to what is passed on from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def _ids(*required: str) -> Schema:
    properties = {name: {"type": "string"} for name in ("model", "queue_id")}
    return {"type": "object", "properties": properties, "required": list(required)}


def _amounts(*names: str) -> Schema:
    return {
        "type": "object",
        "properties": {name: {"type": ["number", "null"]} for name in names},
    }


IDS = _ids("queue_id")
"""What names a job."""
QUEUED = _ids("model", "queue_id")
PRICED: Schema = {
    "type": "object",
    "description": "What Venice's documentation says of the model; checked against its catalogue.",
    "properties": {
        "model": {"type": "string"},
        "duration": {"type": "string", "examples": ["5s"]},
        "resolution": {"type": "string", "examples": ["720p"]},
        "aspect_ratio": {"type": "string", "examples": ["16:9"]},
        "audio": {"type": "boolean"},
    },
    "required": ["model"],
}
ORDER: Schema = {
    **PRICED,
    "properties": {**PRICED["properties"], "prompt": {"type": "string"}},
    "required": ["model", "duration"],
}
QUOTE: Schema = {"type": "object", "properties": {"quote": {"type": "number"}}}
POLLED: Schema = {
    "type": "object",
    "description": "How a job stands; a link to its video for whoever wants no bytes.",
    "properties": {
        "status": {"enum": ["PROCESSING", "COMPLETED"]},
        "average_execution_time": {"type": "number", "description": "Milliseconds."},
        "execution_duration": {"type": "number", "description": "Milliseconds."},
        "video_url": {"type": "string"},
        "url": {"type": "string"},
        "download_url": {"type": "string"},
    },
    "required": ["status", "average_execution_time", "execution_duration"],
}
COMPLETED: Schema = {"type": "object", "properties": {"success": {"type": "boolean"}}}
MODELS: Schema = {
    "type": "object",
    "properties": {
        "data": {
            "type": "array",
            "items": {"type": "object", "properties": {"id": {"type": "string"}}},
        },
        "object": {"type": "string"},
        "type": {"type": "string"},
    },
    "required": ["data"],
}
BALANCE: Schema = {
    "type": "object",
    "description": "What the caller may still spend, in US dollars; null where nothing limits it.",
    "properties": {
        "canConsume": {"type": "boolean"},
        "consumptionCurrency": {"type": "string"},
        "balances": _amounts("diem", "usd"),
        "diemEpochAllocation": {"type": "number"},
    },
    "required": ["canConsume", "consumptionCurrency", "balances", "diemEpochAllocation"],
}
_RATE: Schema = {
    "type": "object",
    "properties": {"amount": {"type": ["integer", "null"]}, "type": {"type": "string"}},
    "required": ["amount", "type"],
}
_RATES: Schema = {
    "type": "object",
    "properties": {
        "apiModelId": {"type": "string"},
        "rateLimits": {"type": "array", "items": _RATE},
    },
    "required": ["apiModelId", "rateLimits"],
}
_LIMITS: Schema = {
    "type": "object",
    "properties": {
        "accessPermitted": {"type": "boolean"},
        "apiTier": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "isCharged": {"type": "boolean"}},
        },
        "balances": _amounts("USD"),
        "keyExpiration": {"type": ["string", "null"]},
        "nextEpochBegins": {"type": "string"},
        "rateLimits": {"type": "array", "items": _RATES},
    },
    "required": [
        "accessPermitted",
        "apiTier",
        "balances",
        "keyExpiration",
        "nextEpochBegins",
        "rateLimits",
    ],
}
RATE_LIMITS: Schema = {"type": "object", "properties": {"data": _LIMITS}, "required": ["data"]}
