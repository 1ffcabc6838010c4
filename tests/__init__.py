"""The tests: each name is a promise the gateway makes."""
