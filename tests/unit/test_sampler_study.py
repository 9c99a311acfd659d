"""The study of samplers: a table of every row and seed, sheets to look at, and nothing drawn twice after a cut."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.samplers import __main__ as study
from benchmarks.samplers import denoising, scoring, styling_sheet
from benchmarks.samplers.material import read_pairs
from benchmarks.samplers.rows import ROWS, rows_named
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion.training import TrainingState
from tests.fixtures.small_trainings import AWARE, PAPER

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Study:
    """Where a study left its output, and how to run it again."""

    output: Path
    run_again: Callable[[], None]


NAMES = [f"pair-{index:02}" for index in range(24)]
TRAINED, HELD_OUT = NAMES[:14], NAMES[14:]
ROW_NAMES = "real,aware-one-20-bent,blended-20"


@pytest.fixture(scope="module")
def study_of_drawn_pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study of drawn pairs and untrained networks, run once."""
    root = tmp_path_factory.mktemp("sampler-study")
    pairs, models, output = root / "pairs", root / "models", root / "study"
    for folder in (pairs / "images", pairs / "masks", models):
        folder.mkdir(parents=True)
    for index, name in enumerate(NAMES):
        image, label = draw_pair(5, index, 32)
        Image.fromarray(image).save(pairs / "images" / f"{name}.png")
        Image.fromarray(label).save(pairs / "masks" / f"{name}.png")
    (root / "train.txt").write_text("\n".join(TRAINED))
    (root / "test.txt").write_text("\n".join(HELD_OUT))
    for name, preset in (("aware-all", AWARE), ("plain", PAPER)):
        write_model(models / f"{name}.safetensors", preset)
    recipe = scoring.segmentation_spec(16).with_overrides({"steps": 4, "validate_every_steps": 2, "batch": 2})
    lists = ["--train-ids", str(root / "train.txt"), "--test-ids", str(root / "test.txt")]
    sizes = ["--sources", "10", "--seeds", "2", "--threads", str(torch.get_num_threads()), "--rows", ROW_NAMES]
    folders = ["--models", str(models), "--output", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "segmentation_spec", lambda _side_px: recipe)
        patch.setattr(sys, "argv", ["samplers", str(pairs), *lists, *folders, *sizes])
        study.main()
        yield Study(output, study.main)


def write_model(path: Path, preset: Preset) -> None:
    """Weights as `benchmarks.samplers.export` leaves them: the averages, with their preset beside them."""
    averages = TrainingState.start(preset, 1).to_tensors()
    tensors = {name: tensor for name, tensor in averages.items() if name.startswith("average.")}
    save_file(tensors, path, metadata={"preset": json.dumps(preset.model_dump(mode="json"))})


def test_the_table_has_every_row_with_its_evaluations_and_seeds(study_of_drawn_pairs: Study) -> None:
    output = study_of_drawn_pairs.output
    lines = (output / "table.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in cells] == [
        ["the sources themselves, not redrawn", "0"],
        ["known clean, 20, order 2, one model", "20"],
        ["blended, 20 levels, stochastic", "20"],
    ]
    assert {row[3] for row in cells} == {"2"}
    assert cells[0][4] == "20 of 20"
    documents = {row["row"]: row for row in json.loads((output / "table.json").read_text())}
    assert documents["real"]["seeds"][0]["source_iou_median"] == 1
    assert documents["real"]["seeds"][0]["kid"]["value"] < 0.1


def test_every_set_leaves_sheets_to_look_at(study_of_drawn_pairs: Study) -> None:
    sheets = sorted(study_of_drawn_pairs.output.glob("sets/*/seed-*/sheet*.png"))
    assert len(sheets) == 3 * 2 * 2
    with Image.open(sheets[0]) as picture:
        assert picture.width > picture.height / 2


def test_a_cut_study_goes_on_without_drawing_anything_again(
    study_of_drawn_pairs: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = study_of_drawn_pairs.output
    before = (output / "table.json").read_text()
    for result in output.glob("sets/blended-20-*/seed-*/result.json"):
        result.unlink()

    def refuse(*_: object) -> None:
        pytest.fail("a set that lies in the folder was drawn again")

    monkeypatch.setattr("benchmarks.samplers.drawing._draw_batch", refuse)
    study_of_drawn_pairs.run_again()
    assert (output / "table.json").read_text() == before


def test_rows_are_named_once_and_a_wrong_name_is_told_with_the_right_ones() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert [row.name for row in rows_named("repaint-960,real")] == ["repaint-960", "real"]
    with pytest.raises(SystemExit, match=r"no row repaint-9000\. There are: real, aware-10"):
        rows_named("repaint-9000")


def test_the_rows_cost_what_their_names_say() -> None:
    by_name = {row.name: row for row in ROWS}
    small, unconditional = AWARE, PAPER
    assert by_name["repaint-960"].evaluations(unconditional) == 960
    assert by_name["langevin-60-core"].evaluations(unconditional) == 60
    assert by_name["aware-20-bent"].evaluations(small) == 20
    assert by_name["real"].evaluations(None) == 0


def test_an_untrained_network_sees_nothing_through_much_noise_and_most_through_little(
    study_of_drawn_pairs: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = study_of_drawn_pairs.output.parent
    pairs, ids, model = root / "pairs", root / "test.txt", root / "models" / "aware-all.safetensors"
    threads = ["--threads", str(torch.get_num_threads())]
    monkeypatch.setattr(sys, "argv", ["denoising", str(pairs), "--ids", str(ids), str(model), *threads])
    denoising.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    whole = {int(log_snr): float(error) for log_snr, error, _ in lines}
    colours = torch.from_numpy(read_pairs(pairs, ids, 16).squares[:, :3]).float() / 127.5 - 1
    assert whole[-8] == pytest.approx((colours**2).mean().item(), rel=0.02)  # it answers nothing, which means grey
    assert whole[6] < 0.02


def test_the_styling_sheet_shows_each_sample_that_has_a_lesion(
    study_of_drawn_pairs: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, output = study_of_drawn_pairs.output.parent, tmp_path / "sheet.png"
    model = root / "models" / "aware-all.safetensors"
    arguments = [str(root / "pairs"), "--ids", str(root / "train.txt"), str(model), str(output), "--count", "3"]
    monkeypatch.setattr(sys, "argv", ["sheet", *arguments, "--threads", str(torch.get_num_threads())])
    styling_sheet.main()
    said = capsys.readouterr().out
    kept = int(said.split(" of 3 samples")[0])
    assert kept > 0
    assert len(said.split("label: ")[1].split(", ")) == kept
    with Image.open(output) as sheet:
        assert sheet.height == pytest.approx(20 + -(-kept // 2) * styling_sheet.CELL_PX, abs=20)
