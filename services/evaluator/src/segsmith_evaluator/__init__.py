"""The jobs of the cpu queue: import, evaluate, report."""
