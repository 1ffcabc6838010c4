"""The gateway's own doors for users, under `/gateway/v1`."""
