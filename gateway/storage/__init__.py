"""Where the ledger and the videos are kept: the backends behind the ports."""
