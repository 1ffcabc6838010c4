"""The one complaint that all doors with a body share."""

from gateway.simulator.issues import Issue

NOT_AN_OBJECT = Issue(
    (), "invalid_type", "Expected object, received invalid JSON", {"expected": "object"}
)
