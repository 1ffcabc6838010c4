"""``GET /models``: what can be ordered, without prices, as Venice lists it."""

from gateway.simulator.answers import Answer, invalid_answer, json_answer
from gateway.simulator.calls import Call
from gateway.simulator.front import Simulator
from gateway.simulator.issues import Issue

TYPES = (
    "asr", "embedding", "image", "music", "text", "tts", "upscale", "inpaint", "video", "all",
    "code",
)  # fmt: skip
TYPE_DEFAULT = "text"


def list_models(simulator: Simulator, call: Call) -> Answer:
    """The models of ``?type=``, or of ``all``."""
    type_name = call.request.query_params.get("type", TYPE_DEFAULT)
    if type_name not in TYPES:
        extra = {"received": type_name, "options": list(TYPES)}
        return invalid_answer([Issue(("type",), "invalid_enum_value", "Invalid type", extra)])
    data = simulator.catalogue.listing(type_name)
    return json_answer({"data": data, "object": "list", "type": type_name})
