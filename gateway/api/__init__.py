"""The doors for programs: HTTP in, one verb each, HTTP out."""
