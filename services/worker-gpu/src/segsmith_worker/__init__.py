"""The jobs of the gpu queue: cluster, train, generate, style, segment."""
