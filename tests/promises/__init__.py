"""What the gateway promises, each promise shown on real processes, ports and kills."""
