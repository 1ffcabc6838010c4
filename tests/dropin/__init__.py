"""Venice's real clients, unchanged, pointed at the gateway."""
