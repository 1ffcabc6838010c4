"""What a video costs, exactly: a pure function of the model's rule and what is being made."""

from dataclasses import dataclass
from decimal import Decimal

from gateway.simulator.catalogue import VideoModel

SOURCE_LENGTH_DURATIONS = frozenset({"auto", "Auto", "-1"})
UPSCALE_FACTOR_DEFAULT = 2


@dataclass(frozen=True)
class Order:
    """The inputs of a price. Seconds of material are zero where there is none."""

    duration: str
    resolution: str | None
    has_audio: bool
    upscale_factor: int
    material_seconds: Decimal

    @property
    def output_seconds(self) -> Decimal:
        """Length of the video that will be made: the material's where the duration says so."""
        if self.duration in SOURCE_LENGTH_DURATIONS:
            return self.material_seconds
        return Decimal(self.duration.removesuffix("s"))


def price(model: VideoModel, order: Order) -> Decimal:
    """USD with every digit the rule yields; nothing is rounded here."""
    rule = model.price
    if rule.upscale_per_second:
        return rule.upscale_per_second[order.upscale_factor] * order.material_seconds
    if rule.by_duration:
        return rule.by_duration[order.duration]
    seconds = order.output_seconds
    if rule.counts_reference:
        seconds += order.material_seconds
    rate = rule.per_second.get(order.resolution or "*")
    if rate is None:
        rate = rule.per_second["*"]
    if order.has_audio:
        rate += rule.audio_per_second
    return rate * seconds
