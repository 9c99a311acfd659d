"""torch.compile: fused kernels, and CUDA graphs where every step is one pass; for trainings long enough to pay."""

from typing import Literal, cast

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from segsmith_shared.plans.cost import training_cost
from segsmith_shared.plans.presets import Preset

CompileChoice = Literal["auto", "on", "off"]

CompilationFailed = TorchDynamoException
"""What a compiled network raises in its first passes when it cannot be compiled: the root of torch's own errors."""

LEAST_FLOPS = 10**17
"""Compiling a network takes a minute or so: under a few minutes' work of a GPU (10¹⁷ operations) it does not pay."""


def pays(choice: CompileChoice, device_type: str, preset: Preset) -> bool:
    """Whether to compile this training. `auto`: on CUDA, if the training is long enough."""
    if choice != "auto":
        return choice == "on"
    return device_type == "cuda" and training_cost(preset).flops >= LEAST_FLOPS


def compiled(network: nn.Module, *, one_pass_per_step: bool) -> nn.Module:
    """The same network, compiled at its first passes, anew for every batch size.

    CUDA graphs only where a step is one pass: adding up the gradients of several would read memory that the graph's
    next replay overwrites.
    """
    on_cuda = next(network.parameters()).is_cuda
    mode = "reduce-overhead" if on_cuda and one_pass_per_step else "default"
    return cast("nn.Module", torch.compile(network, mode=mode, dynamic=False))


def forget() -> None:
    """Drop everything compiled in this process, and the memory that CUDA graphs hold."""
    torch.compiler.reset()
