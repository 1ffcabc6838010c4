"""Whether what people watch the gateway with shows something, and the right thing."""
