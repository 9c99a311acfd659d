"""Durable jobs: Postgres is the truth, Celery is the doorbell."""
