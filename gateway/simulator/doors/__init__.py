"""One module per door of the stand-in: read the call, decide, shape Venice's answer."""
