"""Lists and tables that people keep beside their pictures, in whatever encoding their programs write."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from segsmith_shared.pairs.bad_pictures import LfsPointer
from segsmith_shared.pairs.file_kinds import LFS_POINTER
from segsmith_shared.problems import InvalidInput

MAXIMUM_LIST_BYTES = 2**24
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_WITHOUT_MARK = ((1, "utf-16-le"), (0, "utf-16-be"))  # every other byte of Latin text is zero
_DELIMITERS = ",;\t"
_EXCELS_FIRST_LINE = re.compile(r'\s*"?sep=(?P<delimiter>.)"?,*[ \t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
"""`sep=;` tells Excel by what the lines below are delimited, and is no line of the table."""


class UnreadableText(InvalidInput):
    """A list or table whose bytes are no text."""

    title = "The list cannot be read"


def decoded(data: bytes, name: str) -> str:
    """Text in UTF-8 or UTF-16, with or without a byte order mark, else in Windows' Western code page.

    Raises UnreadableText for binary data and for a Git LFS pointer, naming the file.
    """
    if data.startswith(LFS_POINTER):
        raise UnreadableText(
            f"{name} is a Git LFS pointer, not the list itself.", hint=f"{LfsPointer.advice.capitalize()}."
        )
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if encoding is None and len(data) > 1:
        encoding = next((encoding for start, encoding in _WITHOUT_MARK if not any(data[start:64:2])), None)
    try:
        text = _decoded(data, encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UnreadableText(f"{name} is no text.", hint="Save it as plain text in UTF-8.")
    return text


def _decoded(data: bytes, encoding: str | None) -> str:
    if encoding is not None:
        return data.decode(encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def without_excels_line(text: str) -> tuple[str, str | None]:
    """The text without a first line `sep=;`, and the delimiter that this line names; None where there is none."""
    found = _EXCELS_FIRST_LINE.match(text)
    return (text[found.end() :], found["delimiter"]) if found else (text, None)


def columns_of(line: str) -> list[str]:
    """The columns of one line: of a table where it has a delimiter, else what spaces part. Quotes are taken off."""
    delimiter = next((each for each in _DELIMITERS if each in line), None)
    if delimiter is None:
        return line.split()
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        row = line.split(delimiter)
    return [column.strip() for column in row]


@dataclass(frozen=True)
class Table:
    """A delimited file: names of the columns, and rows of as many texts."""

    header: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The texts of one column. Raises KeyError."""
        place = {title.casefold(): index for index, title in reversed(list(enumerate(self.header)))}[name.casefold()]
        return [row[place] for row in self.rows]


def read_table(text: str) -> Table:
    """The table in `text`, delimited by comma, semicolon or tab, whichever its first line has most of.

    Excel's line `sep=;` goes before that.
    """
    text, delimiter = without_excels_line(text)
    first_line = text.lstrip("\n").partition("\n")[0]
    delimiter = delimiter or max(_DELIMITERS, key=first_line.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except csv.Error:  # e.g. a quote that is never closed
        rows = [line.split(delimiter) for line in text.splitlines() if line.strip()]
    if not rows:
        return Table([], [])
    header = [title.strip() for title in rows[0]]
    return Table(header, [_padded([text.strip() for text in row], len(header)) for row in rows[1:]])


def _padded(row: Sequence[str], length: int) -> list[str]:
    return [*row[:length], *[""] * (length - len(row))]
