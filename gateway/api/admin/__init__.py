"""The doors of administration, under `/gateway/v1/admin`: one file per resource."""
