"""What the stand-in for Venice promises to the tests that rely on it."""
