"""A list of pairs is read as people write it, every looser reading is said, and a foreign list is not obeyed."""

from pathlib import Path, PurePosixPath

import pytest

from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from segsmith_shared.pairs.formats import Candidate, FoundFile
from segsmith_shared.pairs.id_lists import Selection, read_id_list, select, without_comments
from segsmith_shared.pairs.text_files import UnreadableText
from tests.fixtures.pair_folders import draw_folder


def candidate(name: str, image: str = "", label: str = "") -> Candidate:
    image, label = image or f"images/{name}.png", label or f"masks/{name}.png"
    image_file, label_file = (FoundFile(PurePosixPath(path), Path(path)) for path in (image, label))
    return Candidate(name, image_file, (label_file,))


PAIRS = [candidate(name) for name in ("a0", "a1", "a2", "benign (1)", "x, y")]


def chosen(*lines: str) -> Selection:
    return select(lines, PAIRS)


def names(selection: Selection) -> list[str]:
    return [pair.name for pair in selection.candidates]


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffa0\r\na1\r\n".encode(),
        "a0\r\na1\r\n".encode("utf-16"),
        "a0\na1".encode("utf-16-le"),
        "a0\na1".encode("utf-16-be"),
        b"# training\n\n  a0  \r\na1\r",
    ],
)
def test_a_list_is_read_in_any_encoding(data: bytes) -> None:
    assert without_comments(read_id_list(data, "list.txt")) == ["a0", "a1"]


def test_a_list_of_the_western_code_page_keeps_its_letters_and_a_binary_file_is_refused() -> None:
    assert read_id_list("Müller\n".encode("cp1252"), "list.txt") == ["Müller"]
    for data in (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"abc\0def" * 20):
        with pytest.raises(UnreadableText, match=r"list\.txt is no text"):
            read_id_list(data, "list.txt")


@pytest.mark.parametrize(
    ("lines", "expected", "said"),
    [
        (["a0", "a1.PNG"], ["a0", "a1"], ""),
        (["benign (1)", "x, y"], ["benign (1)", "x, y"], ""),
        (["images/a0.png", "./images/a1", "images\\a2.png"], ["a0", "a1", "a2"], ""),
        (["/home/me/data/images/a0.png"], ["a0"], "1 line with a path that is not the folder's"),
        (["A0", "a1", "A2.JPG"], ["a0", "a1", "a2"], "2 lines in another case"),
        (["masks/a0.png", "masks/a2"], ["a0", "a2"], "2 lines by the label's name"),
        (
            ["filename,split", "a0.png,train", '"a1.png";test'],
            ["a0", "a1"],
            "further columns, which are not read: 'train'",
        ),
        (["0;a0.png;p1", "1;a1.png;p2"], ["a0", "a1"], "further columns, which are not read: '0', 'p1'"),
        (["a0  1", "a1 -1"], ["a0", "a1"], "which are not read: '1', '-1'"),
        (["a0", "a0", "a1"], ["a0", "a1"], ""),
    ],
)
def test_lines_name_pairs_as_people_write_them(lines: list[str], expected: list[str], said: str) -> None:
    selection = chosen(*lines)
    assert names(selection) == expected
    assert not [finding for finding in selection.findings if finding.severity == "error"]
    notes = "; ".join(finding.what for finding in selection.findings)
    assert said in notes
    assert bool(said) == bool(notes)


def test_what_names_no_pair_is_said_line_by_line() -> None:
    selection = chosen("a0", "nobody", "no,body")
    assert names(selection) == ["a0"]
    assert [finding.file for finding in selection.findings] == ["no,body", "nobody"]


@pytest.mark.parametrize("line", ["#1", "#1.png", "images/#1.png", "#1.png;P0", "#1 -1"])
def test_a_pair_whose_name_begins_with_a_hash_is_no_comment(line: str) -> None:
    selection = select([line, "a0"], [*PAIRS, candidate("#1")])
    assert names(selection) == ["a0", "#1"]
    assert selection.lines == selection.matched_lines == 2


@pytest.mark.parametrize("comment", ["# a1", "#a1", "# images/a1.png", "#", "#1", "#name,a1"])
def test_any_other_line_that_begins_with_a_hash_is_a_comment(comment: str) -> None:
    selection = chosen(comment, "a0")
    assert names(selection) == ["a0"]
    assert selection.lines == 1
    assert not selection.findings


def test_a_looser_match_of_two_pairs_is_none() -> None:
    pairs = [candidate("p1/A", "p1/images/A.png"), candidate("p2/a", "p2/images/a.png")]
    assert [len(select([line], pairs).candidates) for line in ("A", "p2/images/A", "p3/a")] == [1, 1, 1]
    pairs.append(candidate("p4/a", "p4/images/a.png"))
    assert not select(["p3/a"], pairs).candidates
    assert len(select(["a"], pairs).candidates) == 2  # the very name of both, as ever


@pytest.mark.parametrize("first", ["sep=;\n", "\ufeffsep=;\r\n", '"SEP=;"\n'])
def test_what_excel_writes_first_is_no_name(first: str) -> None:
    lines = read_id_list(f"{first}Bild;Patient\na0.png;P0\na1.png;P1\n".encode(), "list.csv")
    selection = chosen(*lines)
    assert names(selection) == ["a0", "a1"]
    assert [finding.code for finding in selection.findings] == ["list-read-loosely"]


def check(root: Path, **options: object) -> ImportReport:
    return check_folder(root, CheckOptions.model_validate(options), workers=1)


@pytest.mark.parametrize("text", ["0\n1\n2\n", "polyp\nnormal\n", "\0\0binary"])
def test_an_ids_file_of_something_else_is_said_and_not_obeyed(tmp_path: Path, text: str) -> None:
    draw_folder(tmp_path, 3)
    (tmp_path / "ids.txt").write_text(text)
    report = check(tmp_path)
    assert report.accepted == 3
    assert [(finding.code, finding.severity) for finding in report.findings] == [("list-not-used", "warning")]


def test_an_ids_file_of_comments_alone_restricts_nothing(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    (tmp_path / "ids.txt").write_text("# case-000\n")
    report = check(tmp_path)
    assert report.accepted == 1
    assert not report.findings
    assert "all its lines are comments" in check(tmp_path, ids=["# case-000"]).in_words()


def test_an_ids_file_with_some_names_missing_is_obeyed_and_says_which(tmp_path: Path) -> None:
    draw_folder(tmp_path, 3)
    (tmp_path / "ids.txt").write_text("case-000\nelsewhere-1\nelsewhere-2\n", encoding="utf-16")
    report = check(tmp_path)
    assert report.accepted == 1
    assert [finding.code for finding in report.findings] == ["list-used", "not-found", "not-found"]
