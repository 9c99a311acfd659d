"""Known pairs and a region for the tests that write a sampler's equations out by hand."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def known() -> Tensor:
    return torch.rand(4, 4, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture
def region() -> Tensor:
    inside = torch.zeros(4, 1, 16, 16)
    inside[:, :, 2:9, 5:14] = 1
    return inside
