"""The upstream floor: what leaves for Venice, when, and what comes back."""
