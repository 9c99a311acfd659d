"""How like the real pairs the synthetic ones are, and how like each other: numbers with their n and interval."""
