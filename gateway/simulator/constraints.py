"""What one model accepts: the rules behind Venice's 400s that the schema alone does not know."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.simulator.catalogue import Catalogue, VideoModel
from gateway.simulator.issues import Issue, custom
from gateway.simulator.material import clip_seconds
from gateway.simulator.prices import SOURCE_LENGTH_DURATIONS, UPSCALE_FACTOR_DEFAULT, Order

Body = Mapping[str, Any]


def find_model(catalogue: Catalogue, body: Body) -> tuple[VideoModel | None, list[Issue]]:
    """The model a body names, or why it cannot be used. Ids are case-sensitive."""
    model = catalogue.video.get(body["model"])
    if model is None:
        return None, [custom("model", "Specified model not found")]
    if model.is_offline:
        return None, [custom("model", "Specified model is offline")]
    return model, []


def check_choices(model: VideoModel, body: Body) -> list[Issue]:
    """The fields quote and queue share, against the model's constraints."""
    issues = []
    for name, constraint in (
        ("duration", "durations"),
        ("resolution", "resolutions"),
        ("aspect_ratio", "aspect_ratios"),
    ):
        if name in body:
            issues += _check_choice(name, body[name], model.allowed(constraint))
    if "audio" in body and not model.can("audio_configurable"):
        issues.append(custom("audio", "This model does not support configuring audio"))
    if "upscale_factor" in body and not model.is_upscale:
        issues.append(custom("upscale_factor", "This model does not support upscale_factor"))
    return issues


def _check_choice(name: str, value: str, allowed: list[str]) -> list[Issue]:
    if value in allowed:
        return []
    if not allowed:
        return [custom(name, f"This model does not support {name}")]
    extra = {"received": value, "options": allowed}
    message = f"Invalid {name} for this model. Supported values: {', '.join(allowed)}"
    return [Issue((name,), "invalid_enum_value", message, extra)]


def check_queue_fields(model: VideoModel, body: Body) -> list[Issue]:
    """Prompt and inputs of a queue body against the model's constraints."""
    issues = []
    if model.requires_prompt and "prompt" not in body:
        extra = {"expected": "string", "received": "undefined"}
        issues.append(Issue(("prompt",), "invalid_type", "Required", extra))
    for name in ("prompt", "negative_prompt"):
        if len(body.get(name, "")) > model.prompt_characters_max:
            message = f"String must contain at most {model.prompt_characters_max} character(s)"
            limit = {"maximum": model.prompt_characters_max}
            issues.append(Issue((name,), "too_big", message, limit))
    if model.constraints["model_type"] == "image-to-video" and "image_url" not in body:
        issues.append(custom("image_url", "image_url is required for this model"))
    for name, ability in (
        ("video_url", "video_input"),
        ("reference_video_urls", "video_input"),
        ("audio_url", "audio_input"),
    ):
        if body.get(name) and not model.can(ability):
            issues.append(custom(name, f"This model does not support {name}"))
    return issues


def read_quote(model: VideoModel, body: Body) -> tuple[Order | None, list[Issue]]:
    """The order a quote describes, taken at its word, or why there is none."""
    issues = check_choices(model, body)
    duration = body.get("duration", _only_duration(model))
    if duration is None:
        extra = {"expected": "string", "received": "undefined"}
        issues.append(Issue(("duration",), "invalid_type", "Required", extra))
    told = body.get("reference_video_total_duration")
    material = Decimal(told) if told is not None else Decimal(0)
    if model.is_upscale:
        material, more = _source_seconds(model, body)
        issues += more
    elif not material and _matches_source(duration, body):
        name = "reference_video_total_duration"
        issues.append(custom(name, f"{name} is required for source-matched output"))
    if issues or duration is None:
        return None, issues
    return _order(model, body, duration, material), []


def read_queue(model: VideoModel, body: Body) -> tuple[Order | None, list[Issue]]:
    """The order a queue body really is, with the true seconds of its material."""
    issues = check_choices(model, body) + check_queue_fields(model, body)
    if issues:
        return None, issues
    if model.is_upscale:
        material, issues = _source_seconds(model, body)
    else:
        material, issues = _reference_seconds(model, body)
        if not material and not issues and _matches_source(body["duration"], body):
            message = "reference_video_urls is required for source-matched output"
            issues = [custom("reference_video_urls", message)]
    if issues:
        return None, issues
    return _order(model, body, body["duration"], material), []


def _order(model: VideoModel, body: Body, duration: str, material: Decimal) -> Order:
    return Order(
        duration=duration,
        resolution=body.get("resolution", model.default_resolution),
        has_audio=model.can("audio") and body.get("audio", True),
        upscale_factor=body.get("upscale_factor", UPSCALE_FACTOR_DEFAULT),
        material_seconds=material,
    )


def _only_duration(model: VideoModel) -> str | None:
    durations = model.allowed("durations")
    return durations[0] if len(durations) == 1 else None


def _matches_source(duration: str | None, body: Body) -> bool:
    return duration in SOURCE_LENGTH_DURATIONS or body.get("aspect_ratio") in ("adaptive", "auto")


def _source_seconds(model: VideoModel, body: Body) -> tuple[Decimal, list[Issue]]:
    url = body.get("video_url")
    if not url or model.clip_limits is None:
        return Decimal(0), [custom("video_url", "video_url is required for this model")]
    seconds = clip_seconds(url, model.clip_limits)
    if not seconds:
        return Decimal(0), [custom("video_url", "Could not determine the video's duration")]
    return seconds, []


def _reference_seconds(model: VideoModel, body: Body) -> tuple[Decimal, list[Issue]]:
    urls = body.get("reference_video_urls", [])
    limits = model.clip_limits
    if not urls or limits is None:
        return Decimal(0), []
    total = Decimal(0)
    for index, url in enumerate(urls):
        seconds = clip_seconds(url, limits)
        if seconds is None or not limits.clip_min <= seconds <= limits.clip_max:
            message = f"Each clip must be {limits.clip_min} to {limits.clip_max} seconds long"
            return Decimal(0), [Issue(("reference_video_urls", index), "custom", message)]
        total += seconds
    # Imaginary clips are cut to the limit, so that any list of web addresses is a valid request.
    if total > limits.total_max and any(url.startswith("data:") for url in urls):
        message = f"Clips must be at most {limits.total_max} seconds long together"
        return Decimal(0), [custom("reference_video_urls", message)]
    return min(total, Decimal(limits.total_max)), []
