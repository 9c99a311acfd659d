"""What the benchmarks of every device share: waiting for it, models to time, and what a device can do at most."""

import torch

from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.training import TrainingState

PEAK_BF16_FLOPS = {
    "H100 PCIe": 756e12,
    "H100 80GB HBM3": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}
"""Dense bfloat16 operations a second by the makers' datasheets, by a part of the name that the driver gives."""


def peak_flops(device_name: str) -> float | None:
    """The datasheet's figure; None for a device that is not in the table (among them the slower NVL boards)."""
    if "NVL" in device_name:
        return None
    return next((peak for part, peak in PEAK_BF16_FLOPS.items() if part in device_name), None)


def named(device: str) -> str:
    """The device as its driver names it, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


def wait_for(device: str) -> None:
    """Return when everything asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def random_model(preset: Preset, device: str, clusters: int = 0) -> DiffusionModel:
    """A model with the weights a training starts from: how fast it is does not depend on them."""
    weights = TrainingState.start(preset, seed=0, clusters=clusters).network.state_dict()
    return DiffusionModel.from_tensors(preset, weights, device=device)
