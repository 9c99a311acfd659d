"""Which device the science runs on, and how tensors get there without the host waiting."""

import torch
from torch import Tensor


def device_name() -> str:
    """`cuda`, the first of this process, or `cpu`. Called in a job's child process only: the parent touches none."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor there. To CUDA through pinned memory: a copy from any other would hold the host until it is done."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)
