"""The demonstration: a simulated organization at work, on data that is thrown away at the end."""
