"""Which device the science runs on: the first CUDA device of this process, else the CPU."""

import torch


def device_name() -> str:
    """`cuda` or `cpu`. Called in a job's child process only: the parent never touches a device."""
    return "cuda" if torch.cuda.is_available() else "cpu"
