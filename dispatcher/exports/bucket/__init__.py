"""Buckets: logs and exports in S3, in Google Cloud Storage or in Azure, through one client."""
