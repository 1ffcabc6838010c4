"""A stand-in for Venice's video API, with a truth ledger and a fault plan.

It imports nothing of the gateway, so that neither can repeat the other's mistakes.
"""
