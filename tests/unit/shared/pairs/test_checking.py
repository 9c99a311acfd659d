"""The report of a folder says what a person needs to know about it, and nothing that is not so."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from segsmith_shared.database.pipelines import is_grey
from segsmith_shared.database.tables import DatasetVersion
from segsmith_shared.pairs.checking import CheckedPair, CheckOptions, ImportReport, check_folder
from segsmith_shared.pairs.lesions import count_lesions
from tests.fixtures.pair_folders import REAL_DATA, draw_folder, needs_real_data, save, square_label

REAL_SMALL = 30


def check(root: Path, **options: object) -> ImportReport:
    return check_folder(root, CheckOptions.model_validate(options), workers=1)


def codes(report: ImportReport) -> dict[str, str]:
    return {finding.file: finding.code for finding in report.findings}


def test_a_clean_folder_gives_its_pairs_in_the_order_of_names_with_all_that_an_import_stores(tmp_path: Path) -> None:
    names = draw_folder(tmp_path, 5)
    taken: list[CheckedPair] = []
    steps: list[tuple[int, int]] = []

    report = check_folder(tmp_path, None, lambda done, total: steps.append((done, total)), taken.append, workers=2)

    assert [pair.name for pair in taken] == names
    assert steps == [(n, 5) for n in range(1, 6)]
    assert not report.findings
    for pair in taken:
        assert pair.encoded.image_png.startswith(b"\x89PNG")
        assert pair.encoded.thumbnail_jpeg.startswith(b"\xff\xd8")
        truth = np.asarray(Image.open(tmp_path / "masks" / f"{pair.name}.png").convert("L")) > 0
        assert pair.read.lesion_fraction == truth.mean()


def test_the_report_survives_json_and_reads_like_a_letter(tmp_path: Path) -> None:
    draw_folder(tmp_path, 4)
    (tmp_path / "masks" / "case-003.png").unlink()
    report = check(tmp_path)
    assert ImportReport.model_validate_json(report.model_dump_json()) == report
    words = report.in_words()
    assert "3 pairs accepted, 0 rejected, of 7 files." in words
    assert "images/case-003.jpg: image without a label (add its label)" in words
    assert "Layout: image and label folders, because" in words
    assert "Lesions cover" in words


@pytest.mark.parametrize("also_coloured", [False, True])
def test_pictures_without_colour_are_counted_and_a_version_of_them_alone_is_grey(
    tmp_path: Path, *, also_coloured: bool
) -> None:
    for name in draw_folder(tmp_path, 3)[also_coloured:]:
        file = tmp_path / "images" / f"{name}.jpg"
        save(file, Image.open(file).convert("L"))
    report = check(tmp_path)
    assert report.statistics is not None
    assert report.statistics.grey_pictures == 3 - also_coloured
    assert f"{3 - also_coloured} pictures without colour." in report.in_words()
    version = DatasetVersion(
        dataset_id=uuid4(), number=1, digest="", pair_count=3, report=report.model_dump(mode="json")
    )
    assert is_grey(version) != also_coloured
    version.report = {}
    assert not is_grey(version)


def test_empty_labels_are_negatives_unless_rejected_and_full_ones_are_doubted(tmp_path: Path) -> None:
    draw_folder(tmp_path, 3)
    save(tmp_path / "masks" / "case-001.png", Image.new("L", (64, 64), 0))
    save(tmp_path / "masks" / "case-002.png", Image.new("L", (64, 64), 255))
    report = check(tmp_path)
    doubts = {(finding.severity, finding.code) for finding in report.findings}
    assert doubts == {("warning", "full-label"), ("warning", "some-labels-inverted")}
    assert (report.accepted, report.counts.negatives_accepted) == (3, 1)
    assert "1 picture without a lesion (negatives)." in report.in_words()
    rejected = check(tmp_path, empty_labels="reject")
    assert (rejected.accepted, rejected.counts.rejected) == (2, 1)
    assert codes(rejected)["masks/case-001.png"] == "empty-label"


def test_the_same_picture_twice_is_named_and_stays_in_one_group(tmp_path: Path) -> None:
    draw_folder(tmp_path, 4)
    for folder, ending in (("images", "jpg"), ("masks", "png")):
        source = tmp_path / folder / f"case-001.{ending}"
        (tmp_path / folder / f"copy.{ending}").write_bytes(source.read_bytes())
    with Image.open(tmp_path / "images" / "case-002.jpg") as picture:
        save(tmp_path / "images" / "other-label.png", picture.convert("RGB"))
    save(tmp_path / "masks" / "other-label.png", square_label())

    report = check(tmp_path)

    assert report.counts.exact_duplicates == 2
    assert codes(report) == {"images/copy.jpg": "duplicate", "images/other-label.png": "duplicate"}
    advice = {finding.file: finding.what_to_do for finding in report.findings}
    assert advice == {"images/copy.jpg": "remove one", "images/other-label.png": "decide which label is right"}
    assert report.groups == [["case-001", "copy"], ["case-002", "other-label"]]
    assert report.accepted == 6


def test_only_listed_pairs_are_taken_and_unknown_names_are_said(tmp_path: Path) -> None:
    draw_folder(tmp_path, 5)
    report = check(tmp_path, ids=["case-001", "case-003.jpg", "nobody"])
    assert report.accepted == 2
    assert report.counts.not_in_list == 3
    assert codes(report) == {"nobody": "not-found"}


def test_a_list_in_the_folder_does_the_same_and_the_request_overrules_it(tmp_path: Path) -> None:
    draw_folder(tmp_path / "top", 4)
    (tmp_path / "top" / "ids.txt").write_text("# training\ncase-000\n\ncase-002\n")
    report = check(tmp_path)
    assert report.accepted == 2
    assert codes(report) == {"top/ids.txt": "list-used"}
    assert check(tmp_path, ids=["case-001"]).accepted == 1


def test_only_included_paths_are_looked_at(tmp_path: Path) -> None:
    draw_folder(tmp_path / "data_C1", 2)
    draw_folder(tmp_path / "data_C2", 3)
    assert check(tmp_path, include=["data_C2/*"]).accepted == 3


def test_frames_of_one_sequence_stay_in_one_group(tmp_path: Path) -> None:
    for sequence, first in (("seq1", 0), ("seq2", 10)):
        folder = tmp_path / "sequenceData" / "positive" / sequence
        draw_folder(folder, 2, first=first)
        (folder / "images").rename(folder / f"images_{sequence}")
        (folder / "masks").rename(folder / f"masks_{sequence}")
    assert check(tmp_path).groups == [["case-000", "case-001"], ["case-010", "case-011"]]


@pytest.mark.parametrize("files", [{}, {"a.jpg": b"x", "b.jpg": b"y"}, {"readme.txt": b"nothing here"}])
def test_a_folder_without_pairs_gets_advice_instead_of_an_error(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    report = check(tmp_path)
    assert report.accepted == 0
    assert codes(report) == {".": "no-layout"}
    assert "images/" in report.in_words()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="empty_lables"):
        CheckOptions.model_validate({"empty_lables": "keep"})


def test_a_long_report_is_shortened_to_its_gravest(tmp_path: Path) -> None:
    draw_folder(tmp_path, 3)
    (tmp_path / "masks" / "case-002.png").unlink()
    (tmp_path / "images" / "twin.jpg").write_bytes((tmp_path / "images" / "case-000.jpg").read_bytes())
    (tmp_path / "masks" / "twin.png").write_bytes((tmp_path / "masks" / "case-000.png").read_bytes())
    short = check(tmp_path).shortened(1)
    assert [finding.code for finding in short.findings] == ["missing-label"]
    assert short.findings_left_out == 1
    assert "1 more findings" in short.in_words()


def test_specks_are_not_counted_as_lesions() -> None:
    label = np.zeros((400, 400), np.bool_)
    label[50:100, 50:100] = label[200:220, 200:220] = True
    label[220, 220] = True  # touches diagonally
    label[300, 300] = label[10, 390] = True
    assert count_lesions(label) == (2, 2500)
    assert count_lesions(np.zeros((4, 4), np.bool_)) == (0, 0)
    classes = np.zeros((100, 100), np.uint8)
    classes[10:20, 10:20], classes[20:40, 10:20] = 1, 2
    assert count_lesions(classes) == (2, 200)
    label[:] = False
    label[7, 7] = True
    assert count_lesions(label) == (1, 1)


class TestOnRealPolyps:
    pytestmark = needs_real_data

    def test_kvasir_is_recognised_whole_with_its_lists(self) -> None:
        root = REAL_DATA / "kvasir-seg"
        wanted = (root / "test-200.txt").read_text().split()[:REAL_SMALL]
        report = check(root, ids=wanted)
        assert report.layout == "Kvasir-SEG"
        assert (report.accepted, report.counts.rejected) == (REAL_SMALL, 0)
        assert report.counts.not_in_list == 548 - REAL_SMALL

    def test_jpeg_labels_are_read_at_half_and_the_authors_way_grows_them(self) -> None:
        ids = (REAL_DATA / "kvasir-seg" / "paper-348.txt").read_text().split()[:REAL_SMALL]
        areas = {}
        for procedure in ("corrected", "authors"):
            report = check(REAL_DATA / "kvasir-seg", ids=ids, procedure=procedure)
            assert report.statistics is not None
            areas[procedure] = report.statistics.lesion_fraction.median
        assert 1.005 < areas["authors"] / areas["corrected"] < 1.2

    def test_a_polyp_that_is_there_twice_is_found_and_strangers_are_left_apart(self) -> None:
        """Perceptual hashes alone, as wide as to find CVC's twins, would join these three pairs of strangers too."""
        twins = ["cju76lsehyia10987u54vn8rb", "cju772304yw5t0818vbw8kkjf"]
        strangers = ["cju2i8br1vqtd08784u6vmcjk", "cju2ro5jqsy680988pi6qsujw", "cju3tsh4lfsok0987w6x3a0v1"]
        strangers += ["cju88q6h6obpd0871ckmiabbo", "cju2s2527pfyr0993l3h1149a", "cju41p90plcsx08018cnzpndc"]
        assert check(REAL_DATA / "kvasir-seg", ids=twins + strangers).groups == [twins]

    def test_cvc_frames_are_lossless(self) -> None:
        ids = [path.stem for path in sorted((REAL_DATA / "cvc-clinicdb" / "images").iterdir())[:10]]
        report = check(REAL_DATA / "cvc-clinicdb", ids=ids)
        assert report.accepted == 10
        assert report.statistics is not None
        assert report.statistics.sizes == 1
        assert report.statistics.width_px.median == 384
