"""What to do when a device has no room for so many pictures at once: fewer at once, the same result."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segsmith_shared.problems import Problem


class OutOfDeviceMemory(Problem):
    """Not even one picture at a time fits."""

    status = 507
    title = "The device has too little memory"


def halved(count: int, what: str) -> int:
    """Half as many pictures at once, after giving unused memory back to the device.

    To be called outside the `except` block that noticed: until it is left, the traceback holds the failed pass's
    tensors. Raises OutOfDeviceMemory where `count` is 1 already.
    """
    torch.cuda.empty_cache()  # does nothing where there is no CUDA
    if count == 1:
        raise _too_large(f"One picture at a time does not fit into the device's memory while {what}.")
    return count // 2


@contextmanager
def in_memory(what: str) -> Iterator[None]:
    """Around what cannot be made smaller. Raises OutOfDeviceMemory where the device has no room for it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _too_large(f"{what} alone does not fit into the device's memory.") from error


def _too_large(detail: str) -> OutOfDeviceMemory:
    hint = "Choose a preset with a smaller network or side, or a device with more memory that nobody else uses."
    return OutOfDeviceMemory(detail, hint=hint)
