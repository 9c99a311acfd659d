"""Styling: a sample drawn anew by its own network, pulled towards the look of the real picture it came from."""
