"""What to do when a device has no room for so many pictures at once: fewer at once, the same result."""

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
        raise OutOfDeviceMemory(
            f"One picture at a time does not fit into the device's memory while {what}.",
            hint="Choose a preset with a smaller network or side, or a device with more memory that nobody else uses.",
        )
    return count // 2
