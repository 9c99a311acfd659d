"""Postgres, Valkey and S3 from pip wheels, as child processes."""
