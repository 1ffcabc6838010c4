"""What people watch the gateway with: dashboards written in Python, rules for Prometheus, and how
both are provisioned. Nothing here runs inside the gateway.
"""
