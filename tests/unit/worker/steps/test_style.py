"""What a styled pair's row says of it."""

from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
import torch

from segsmith_shared.database.tables import Model, Sample
from segsmith_shared.jobs.context import StepContext
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import GenerationOrder, PartRef, StyleJobSpec
from segsmith_shared.plans.styling import StylingSpec
from segsmith_shared.vision.towers import BuiltInStyleTower, BuiltInTextureTower
from segsmith_worker.steps.sample_storage import StoredSample
from segsmith_worker.steps.style import Restyling, StyleJob, styled_sample
from segsmith_worker.styling.guidance import Towers
from segsmith_worker.styling.style import StyleResult

STORED = StoredSample(*"abcdefg")
CONTENT: dict[str, Any] = {"image_digest": "before", "sample_index": 1}
MODEL: dict[str, Any] = {"recipe": "Diff"}


def sample_of(label: torch.Tensor) -> Sample:
    """The row of a pair whose label became this, bool (H, W)."""
    pairs, preset = PartRef(version_id=uuid4()), preset_named("tiny-cpu").model_dump(mode="json")
    job = StyleJob(
        Mock(StepContext, job_id=uuid4()),
        StyleJobSpec(generation_id=uuid4(), share=0, shares=1, torch_threads=1),
        GenerationOrder(pairs=pairs, geometry="squash", preset=preset, strategy="full", source_limit=None, seed=1),
        StylingSpec(),
        Towers(BuiltInStyleTower(), BuiltInTextureTower()),
    )
    content = Sample(id=uuid4(), source_pair_id=uuid4(), **CONTENT)
    result = StyleResult(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), label[None], label[None].float(), torch.ones(1))
    return styled_sample(job, Restyling(content, Model(**MODEL), seed=5), result, 0, STORED)


@pytest.mark.parametrize(("pixels", "reason"), [(0, "empty_label"), (6, None)])
def test_a_pair_whose_label_was_lost_is_rejected_and_no_other(pixels: int, reason: str | None) -> None:
    label = torch.zeros(8, 8, dtype=torch.bool)
    label[0, :pixels] = True
    row = sample_of(label)
    assert (row.accepted, row.rejection_reason) == (reason is None, reason)
    assert row.lesion_fraction == pixels / 64


def test_the_row_says_what_it_was_and_by_which_networks_it_was_compared() -> None:
    row = sample_of(torch.ones(8, 8, dtype=torch.bool))
    assert row.provenance["content_digest"] == "before"
    assert row.provenance["styling"]["procedure"] == "corrected"
    assert row.provenance["style_tower"]["stand_in"] is True
    assert row.evaluations == StylingSpec().guided_steps
