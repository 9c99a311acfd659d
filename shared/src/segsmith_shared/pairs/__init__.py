"""Pairs of image and label: reading, checking, naming."""
