"""One SQLModel file per noun."""
