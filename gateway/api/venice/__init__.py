"""The doors that Venice's own clients use, under `/api/v1`: one endpoint, one file."""
