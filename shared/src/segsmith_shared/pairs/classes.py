"""The classes that labels tell apart: how many, and what they are called."""

from collections.abc import Sequence

MOST_CLASSES = 8


def classes_of(class_names: Sequence[str]) -> int:
    """How many classes the labels of a version hold: one (lesion) where it names none."""
    return max(1, len(class_names))
