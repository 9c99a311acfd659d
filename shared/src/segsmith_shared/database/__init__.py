"""How the services reach Postgres."""
