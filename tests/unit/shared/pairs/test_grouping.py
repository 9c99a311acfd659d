"""Patients and sequences that names or a table tell of stay together, and the report says how that was found out."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from segsmith_shared.pairs import grouping
from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from segsmith_shared.pairs.grouping import GroupsNotFound
from tests.fixtures.pair_folders import draw_folder

NAMES = ["p1_a", "p1_b", "p2_a", "p3_a"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, drawn in zip(NAMES, draw_folder(tmp_path, 4), strict=True):
        for part, ending in (("images", "jpg"), ("masks", "png")):
            (tmp_path / part / f"{drawn}.{ending}").rename(tmp_path / part / f"{name}.{ending}")
    return tmp_path


def check(root: Path, **options: object) -> ImportReport:
    return check_folder(root, CheckOptions.model_validate(options), workers=1)


@pytest.mark.parametrize("pattern", [r"^(p\d+)_", r"p\d+", r"^(p)(?P<group>\d)_\w"])
def test_a_pattern_over_names_keeps_patients_together(folder: Path, pattern: str) -> None:
    report = check(folder, group_pattern=pattern)
    assert report.groups == [["p1_a", "p1_b"]]
    [source] = report.group_sources
    assert (source.how, source.groups, source.pairs) == (f"pattern {pattern!r}", 1, 2)
    assert f"2 pairs in 1 group by pattern {pattern!r}" in report.in_words()


def test_a_pattern_that_fits_no_name_is_tried_on_the_paths(tmp_path: Path) -> None:
    draw_folder(tmp_path / "patient7", 2)
    draw_folder(tmp_path / "patient8", 2, first=10)
    report = check(tmp_path, group_pattern=r"patient(\d+)/")
    assert report.groups == [["case-000", "case-001"], ["case-010", "case-011"]]


def test_pairs_that_the_pattern_does_not_match_are_named(folder: Path) -> None:
    [finding] = check(folder, group_pattern="^(p1)_").findings
    assert (finding.code, finding.severity) == ("group-pattern", "warning")
    assert "p2_a, p3_a" in finding.what


def test_a_pattern_that_matches_nothing_is_an_error_that_shows_a_name(folder: Path) -> None:
    with pytest.raises(GroupsNotFound, match=r"'p1_a' at 'images/p1_a\.jpg'"):
        check(folder, group_pattern="^(q)")


@pytest.mark.parametrize("pattern", ["^([a-o]*)", "(?P<group>x?)", "q*"])
def test_empty_text_is_no_patient_that_all_pairs_would_share(tmp_path: Path, pattern: str) -> None:
    draw_folder(tmp_path, 2)
    for path in tmp_path.rglob("*-00*"):
        path.rename(path.with_name(path.name.removeprefix("case-")))
    with pytest.raises(GroupsNotFound, match="matches only empty text"):
        check(tmp_path, group_pattern=pattern)


def test_pairs_in_which_the_pattern_matches_only_empty_text_are_named(folder: Path) -> None:
    report = check(folder, group_pattern=r"(p1|)_")
    assert report.groups == [["p1_a", "p1_b"]]
    [finding] = report.findings
    assert (finding.code, finding.severity) == ("group-pattern", "warning")
    assert "2 with only empty text matched): p2_a, p3_a" in finding.what


@pytest.mark.parametrize("pattern", ["images", "^(p)"])
def test_a_set_that_is_one_group_as_a_whole_is_worth_a_look(folder: Path, pattern: str) -> None:
    report = check(folder, group_pattern=pattern)
    assert len(report.groups[0]) == 4
    [finding] = report.findings
    assert (finding.code, finding.severity) == ("group-pattern", "warning")
    assert "all 4 pairs are one group" in finding.what


def test_a_pattern_that_backtracks_without_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "PATTERN_SECONDS", 0.3)
    for part, ending in (("images", "jpg"), ("masks", "png")):
        (folder / part / f"p1_a.{ending}").rename(folder / part / f"{'a' * 60}.{ending}")
    with pytest.raises(GroupsNotFound, match=r"longer than 0\.3 s"):
        check(folder, group_pattern="(a+)+$$b")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("image,patient\np1_a.jpg,x\np1_b.jpg,x\np2_a.jpg,x\n", "patient"),
        ("\ufeffid;Patient;file\r\n0;x;images/p1_a.jpg\r\n1;x;P1_B\r\n2;x;masks/p2_a.png\r\n", "patient"),
        ("frame\tseq\np1_a\t4\np1_b\t4\np2_a\t4\np3_a\t\n", "seq"),
        ("sep=;\nBild;Patient\np1_a.jpg;x\np1_b.jpg;x\np2_a.jpg;x\n", "Patient"),
        ('\ufeff"sep=|"\r\nBild|Patient, name\r\np1_a|x\r\np1_b|x\r\np2_a|x\r\n', "Patient, name"),
    ],
)
def test_a_column_of_a_table_keeps_patients_together(folder: Path, table: str, column: str) -> None:
    (folder / "meta.csv").write_text(table, encoding="utf-8")
    report = check(folder, group_column=f"meta.csv:{column}")
    assert report.groups == [["p1_a", "p1_b", "p2_a"]]
    assert report.group_sources[0].how == f"column 'meta.csv:{column}'"
    assert [finding.code for finding in report.findings] == ["group-column"]  # p3_a has no group


@pytest.mark.parametrize("header", ["image,age,patient", "image,patient,age"])
def test_numbers_that_happen_to_be_names_of_pairs_do_not_speak_for_them(tmp_path: Path, header: str) -> None:
    for index, drawn in enumerate(draw_folder(tmp_path, 4), start=30):
        for part, ending in (("images", "jpg"), ("masks", "png")):
            (tmp_path / part / f"{drawn}.{ending}").rename(tmp_path / part / f"{index}.{ending}")
    rows = [
        {"image": f"{30 + n}.jpg", "age": age, "patient": f"P{n // 2}"}
        for n, age in enumerate(["31", "31", "31", "30"])
    ]
    lines = [",".join(row[title] for title in header.split(",")) for row in rows]
    (tmp_path / "meta.csv").write_text("\n".join([header, *lines]))
    assert check(tmp_path, group_column="meta.csv:patient").groups == [["30", "31"], ["32", "33"]]


def test_of_two_columns_that_name_every_pair_a_row_number_does_not_count_and_two_others_are_an_error(
    tmp_path: Path,
) -> None:
    for index, drawn in enumerate(draw_folder(tmp_path, 4)):
        for part, ending in (("images", "jpg"), ("masks", "png")):
            (tmp_path / part / f"{drawn}.{ending}").rename(tmp_path / part / f"{index}.{ending}")
    (tmp_path / "meta.csv").write_text("row,file,patient\n0,3.jpg,x\n1,2.jpg,x\n2,1.jpg,y\n3,0.jpg,z\n")
    assert check(tmp_path, group_column="meta.csv:patient").groups == [["2", "3"]]
    (tmp_path / "meta.csv").write_text("row,number,patient\n0,3,x\n1,2,x\n2,1,y\n3,0,z\n")
    with pytest.raises(GroupsNotFound, match="columns 'row' and 'number'"):
        check(tmp_path, group_column="meta.csv:patient")


@pytest.mark.parametrize(
    ("table", "wanted", "words"),
    [
        ("image,patient\np1_a,x\n", "other.csv:patient", "has no file 'other.csv'"),
        ("image,patient\np1_a,x\n", "meta.csv:case", "has no column 'case'"),
        ("image,patient\nq9,x\n", "meta.csv:patient", "No row of meta.csv names a pair"),
        ("image,patient\np1_a,x\np1_a,y\n", "meta.csv:patient", "gives 'p1_a' two groups, 'x' and 'y'"),
        ("", "meta.csv:patient", "has no column 'patient'"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error_in_words(folder: Path, table: str, wanted: str, words: str) -> None:
    (folder / "meta.csv").write_text(table)
    with pytest.raises(GroupsNotFound, match=words):
        check(folder, group_column=wanted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"group_pattern": "("}, "no regular expression"),
        ({"group_column": "patient"}, "is not FILE.csv:COLUMN"),
        ({"group_pattern": "a", "group_column": "b.csv:c"}, "not both"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CheckOptions.model_validate(options)


def test_groups_by_similarity_and_by_the_layouts_sequences_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "sequenceData" / "positive" / "seq1"
    draw_folder(folder, 3)
    for part, ending in (("images", "jpg"), ("masks", "png")):
        source = folder / part / f"case-000.{ending}"
        (folder / part / f"copy.{ending}").write_bytes(source.read_bytes())
    report = check(tmp_path)
    assert [(source.how, source.groups, source.pairs) for source in report.group_sources] == [
        ("sequence names of the layout", 1, 4),
        ("similarity", 1, 2),
    ]
