"""Venice as the rest of the gateway meets it: one client, one gate, one retry table."""
