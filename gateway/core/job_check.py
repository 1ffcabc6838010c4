"""What a policy says against one job: its model, its form and its price.

The answer is a refusal to be told, or None; whether it is obeyed or only observed is not decided
here.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import PolicyRefused
from gateway.core.money import Money
from gateway.core.policy import JobRules, Policy, matches


def check_job(
    policy: Policy,
    *,
    model: str,
    key_models: tuple[str, ...],
    seconds: int | None,
    resolution: str | None,
    has_audio: bool,
) -> PolicyRefused | None:
    """What the policy says against a job before its price is known; None where nothing.

    `seconds` is None where the length is not known beforehand, `resolution` where the request
    leaves it to Venice, `key_models` are the key's own globs, empty for any.
    """
    if not policy.models.allows(model) or (key_models and not matches(model, key_models)):
        whose = "key" if policy.models.allows(model) else "policy"
        allowed = list(key_models) if whose == "key" else policy.models.model_dump(mode="json")
        return PolicyRefused(
            "models", allowed, f"Your {whose} does not allow the model {model}. Choose another one."
        )
    return _check_seconds(policy.job, seconds) or _check_form(policy.job, resolution, has_audio)


def _check_seconds(rules: JobRules, seconds: int | None) -> PolicyRefused | None:
    if rules.seconds == "any":
        return None
    if isinstance(rules.seconds, int):
        fits = seconds is not None and seconds <= rules.seconds
        allowed: Any = {"at_most": rules.seconds}
        words = f"at most {rules.seconds} seconds"
    else:
        fits = seconds in rules.seconds
        allowed = list(rules.seconds)
        words = " or ".join(map(str, rules.seconds)) + " seconds"
    if fits:
        return None
    length = "of unknown length" if seconds is None else f"of {seconds} seconds"
    return PolicyRefused(
        "job.seconds", allowed, f"Your policy allows videos of {words}, not one {length}."
    )


def _check_form(rules: JobRules, resolution: str | None, has_audio: bool) -> PolicyRefused | None:
    if rules.resolutions != "any" and resolution not in rules.resolutions:
        named = "one that is left to Venice" if resolution is None else resolution
        return PolicyRefused(
            "job.resolutions",
            list(rules.resolutions),
            f"Your policy allows the resolutions {', '.join(rules.resolutions)}, not {named}. "
            "Name an allowed one in the request.",
        )
    if rules.audio == "refused" and has_audio:
        return PolicyRefused(
            "job.audio",
            False,
            "Your policy does not allow videos with sound. Send audio: false, or use a silent "
            "model where this one cannot be silenced.",
        )
    return None


def check_price(policy: Policy, model: str, price: Money) -> PolicyRefused | None:
    """What the policy says against the price of one job."""
    limits = [("job.usd", policy.job.usd)]
    limits += [(f"per_model.{g}.job_usd", rules.job_usd) for g, rules in policy.model_rules(model)]
    for rule, limit in limits:
        if isinstance(limit, Money) and price > limit:
            return PolicyRefused(
                rule,
                str(limit),
                f"This job costs {price} USD; your policy allows at most {limit} USD for a single "
                "job of this kind. Order a shorter, smaller or silent video.",
            )
    return None
