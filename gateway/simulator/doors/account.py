"""``GET /billing/balance`` and ``GET /api_keys/rate_limits``: the account as its keys see it."""

from datetime import UTC, datetime, timedelta

from gateway.simulator.answers import Answer, json_answer
from gateway.simulator.calls import Call
from gateway.simulator.front import Simulator
from gateway.simulator.money import usd_number


def balance(simulator: Simulator, _: Call) -> Answer:
    """What is left, in USD; this account has no DIEM."""
    left = simulator.jobs.balance(simulator.clock())
    return json_answer(
        {
            "canConsume": left > 0,
            "consumptionCurrency": "USD",
            "balances": {"diem": None, "usd": usd_number(left)},
            "diemEpochAllocation": 0,
        }
    )


def rate_limits(simulator: Simulator, _: Call) -> Answer:
    """Balances, and the queue limit of every video model in requests a minute."""
    now = simulator.clock()
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    limit = [{"amount": simulator.settings.queue_per_minute, "type": "RPM"}]
    models = simulator.catalogue.video
    data = {
        "accessPermitted": True,
        "apiTier": {"id": "paid", "isCharged": True},
        "balances": {"USD": usd_number(simulator.jobs.balance(now)), "DIEM": 0},
        "keyExpiration": None,
        "nextEpochBegins": f"{midnight + timedelta(days=1):%Y-%m-%dT%H:%M:%S}.000Z",
        "rateLimits": [{"apiModelId": model, "rateLimits": limit} for model in models],
    }
    return json_answer({"data": data})
