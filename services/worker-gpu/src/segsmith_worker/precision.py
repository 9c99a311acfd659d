"""In which numbers networks compute: bfloat16 where the device has instructions for it, float32 elsewhere."""

from contextlib import AbstractContextManager, nullcontext

import torch

from segsmith_shared.plans.presets import TrainingSpec
from segsmith_shared.plans.styling import StylingSpec


def autocast(device_type: str, spec: TrainingSpec | StylingSpec) -> AbstractContextManager[object]:
    """The context a forward pass runs in; weights, their average, the optimiser and the picture stay float32."""
    if spec.precision == "float32" or not computes_in_bfloat16(device_type):
        return nullcontext()
    return torch.autocast(device_type, torch.bfloat16)


def computes_in_bfloat16(device_type: str) -> bool:
    """Whether bfloat16 pays: on CUDA, and on CPUs that multiply it (AVX-512 BF16 or AMX; 1.6 times as fast as float32).

    Elsewhere the CPU would convert back and forth, slower than float32.
    """
    if device_type == "cuda":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
