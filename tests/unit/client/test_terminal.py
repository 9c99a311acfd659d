"""The command says what it has to say on every terminal, and one bad line of input is one line of output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.pair_folders import draw_folder, save


def segsmith(*arguments: object, encoding: str = "utf-8", **environment: str) -> subprocess.CompletedProcess[bytes]:
    program = "from segsmith.command import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding} | environment,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_report_is_shown_also_where_the_terminal_lacks_its_characters(tmp_path: Path, encoding: str) -> None:
    draw_folder(tmp_path, 1)
    save(tmp_path / "masks" / "case-000.png", Image.new("L", (65, 64), 255))
    for name in ("images/żółć.png", "masks/żółć-ß.png"):
        save(tmp_path / name, Image.new("L", (64, 64)))
    ended = segsmith("dataset", "check", tmp_path, encoding=encoding)
    assert ended.returncode == 1, ended.stderr
    assert b"label is 65" in ended.stdout
    assert ended.stdout.count(b"without") >= 2
    assert b"Error" not in ended.stderr


def test_names_in_json_survive_a_terminal_that_lacks_their_letters(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    save(tmp_path / "images" / "żółć.png", Image.new("L", (64, 64)))
    for encoding in ("ascii", "utf-8"):
        ended = segsmith("dataset", "check", tmp_path, "--json", encoding=encoding)
        files = [finding["file"] for finding in json.loads(ended.stdout)["findings"]]
        assert files == ["images/żółć.png"]


@pytest.mark.parametrize("arguments", [["--help"], ["dataset", "check", "--help"], ["preset", "list"]])
def test_help_and_tables_are_shown_in_ascii(arguments: list[str]) -> None:
    ended = segsmith(*arguments, encoding="ascii")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_a_key_with_a_line_break_inside_is_one_line_that_does_not_show_it() -> None:
    ended = segsmith("dataset", "list", "--url", "127.0.0.1:9", SEGSMITH_API_KEY="sgs_sec\nret")
    assert ended.returncode == 1
    [line] = ended.stderr.decode().splitlines()
    assert "line break" in line
    assert "sgs_sec" not in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group-pattern", "("], "no regular expression"),
        (["--group-pattern", "^(zzz)"], "matches no pair"),
        (["--group-column", "meta.csv:patient"], "has no file 'meta.csv'"),
        (["--group-pattern", "a", "--group-column", "a.csv:b"], "from a pattern or from a column"),
        (["--ids", "/nowhere.txt"], "cannot be read as a list"),
        (["--ids", os.devnull], "lists no names"),
    ],
)
def test_options_that_do_not_fit_are_one_line(tmp_path: Path, options: list[str], words: str) -> None:
    draw_folder(tmp_path, 1)
    ended = segsmith("dataset", "check", tmp_path, *options)
    assert ended.returncode == 1
    [line] = ended.stderr.decode().splitlines()
    assert words in line
