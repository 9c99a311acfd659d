"""Objects in S3, addressed by their SHA-256."""
