"""What tests of the science train on."""

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.pairs.drawn import draw_pair


@pytest.fixture(scope="module")
def pairs() -> Tensor:
    """Five drawn pairs, uint8 (5, 4, 16, 16)."""
    drawn = [draw_pair(0, index, 16) for index in range(5)]
    return torch.from_numpy(np.stack([np.dstack([image, label * np.uint8(255)]) for image, label in drawn])).movedim(
        3, 1
    )
