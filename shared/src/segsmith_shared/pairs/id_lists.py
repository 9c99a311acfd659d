"""Lists of pair names as people keep them: with endings, paths, columns, in another case, of labels not images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from segsmith_shared.pairs.file_kinds import PICTURE_SUFFIXES
from segsmith_shared.pairs.formats import Candidate, FoundFile
from segsmith_shared.pairs.import_report import Finding, many
from segsmith_shared.pairs.text_files import columns_of, decoded, without_excels_line

IDS_FILE = "ids.txt"
FOREIGN_BELOW = 0.1
"""Share of lines that must name a pair for a list that only lies in the folder to be obeyed."""

_BY_PATH, _BY_LABEL, _BY_CASE, _BY_COLUMN = "path", "label", "case", "column"
_HOW = {
    _BY_PATH: "with a path that is not the folder's, matched by its end",
    _BY_LABEL: "by the label's name instead of the image's",
    _BY_CASE: "in another case",
}


_COMMENT = "#"


def read_id_list(data: bytes, name: str) -> list[str]:
    """The lines of a list that hold anything, without Excel's `sep=;`. Raises UnreadableText.

    Those that begin with # are comments unless a pair is called so, which `select` looks up.
    """
    text, _ = without_excels_line(decoded(data, name))
    return [line for each in text.splitlines() if (line := each.strip())]


def without_comments(lines: Iterable[str]) -> list[str]:
    """The lines that name something for certain."""
    return [line for line in lines if not line.startswith(_COMMENT)]


@dataclass(frozen=True)
class Selection:
    """The listed candidates in their order, how many lines name one, and what a person should know of the others.

    `lines` counts those that are no comments.
    """

    candidates: list[Candidate]
    lines: int
    matched_lines: int
    findings: list[Finding]


def select(lines: Sequence[str], candidates: Sequence[Candidate], list_name: str = "list") -> Selection:
    """The candidates that the lines name: by name, path or file, with or without its ending, else by looser matches.

    A looser match (the end of a path, a label's name, another case, a column) counts only where it names one pair,
    and is said in a note. A first line that only heads columns is passed over, and so are comments: lines that
    begin with # and are not the name of a pair.
    """
    names = PairNames(candidates)
    chosen: set[str] = set()
    looser: Counter[str] = Counter()
    further: list[str] = []
    missing: list[str] = []
    looked_up = [(line, names.find_line(line)) for line in lines]
    counted = [(line, found) for line, found in looked_up if found.candidates or not line.startswith(_COMMENT)]
    for line, found in counted:
        chosen |= {candidate.name for candidate in found.candidates}
        looser.update(found.how)
        further += found.further_columns
        if not found.candidates:
            missing.append(line)
    if looser[_BY_COLUMN] and missing and missing[0] == counted[0][0] and len(columns_of(missing[0])) > 1:
        missing.pop(0)  # it heads the columns
    findings = [_missing(line) for line in sorted(set(missing))]
    if lines and not counted:
        what = "lists no pair: all its lines are comments"
        findings.append(Finding(severity="error", code="not-found", file=list_name, what=what))
    findings += [_note(list_name, f"{many(looser[how], 'line')} {words}") for how, words in _HOW.items() if looser[how]]
    if further:
        shown = ", ".join(repr(text) for text in dict.fromkeys(further[:200]))
        what = f"{many(looser[_BY_COLUMN], 'line')} with further columns, which are not read: {shown[:120]}"
        findings.append(_note(list_name, what))
    listed = [candidate for candidate in candidates if candidate.name in chosen]
    return Selection(listed, len(counted), sum(bool(found.candidates) for _, found in counted), findings)


def _missing(line: str) -> Finding:
    what = "listed, but no complete pair has this name"
    return Finding(severity="error", code="not-found", file=line[:400], what=what, what_to_do="check the list")


def _note(list_name: str, what: str) -> Finding:
    return Finding(severity="note", code="list-read-loosely", file=list_name, what=what)


@dataclass(frozen=True)
class FoundNames:
    """The candidates that a text names, and by which looser matches."""

    candidates: Sequence[Candidate] = ()
    how: frozenset[str] = frozenset()
    further_columns: list[str] = field(default_factory=list)


class PairNames:
    """All that a pair may be called: its name, and every end of the paths of its image and its labels."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_image: dict[str, list[Candidate]] = defaultdict(list)
        self._by_label: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            for key in {candidate.name, *_ends(candidate.image)}:
                self._by_image[key].append(candidate)
            for key in {key for label in candidate.labels for key in _ends(label)}:
                self._by_label[key].append(candidate)
        self._by_image_folded = _folded(self._by_image)
        self._by_label_folded = _folded(self._by_label)

    def find_line(self, line: str) -> FoundNames:
        """What a line of a list names: as a whole, else by the first of its columns that names a pair.

        A line that begins with # only by that very name, as a whole or in its first column.
        """
        if line.startswith(_COMMENT):
            texts = (line, columns_of(line)[0])
            exact = (found for text in texts if (found := self.find(text)).candidates and not found.how)
            return next(exact, FoundNames())
        found = self.find(line)
        if found.candidates:
            return found
        columns = columns_of(line)
        for place, column in enumerate(columns if len(columns) > 1 else ()):
            found = self.find(column)
            if found.candidates:
                further = [text for text in columns[:place] + columns[place + 1 :] if text]
                return FoundNames(found.candidates, found.how | {_BY_COLUMN}, further)
        return FoundNames()

    def find(self, text: str) -> FoundNames:
        """What a name, file name or path names; a looser match only where it names one pair."""
        keys = _keys(text)
        if keys and (exact := self._by_image.get(text) or self._by_image.get(keys[0])):
            return FoundNames(exact)
        indices = (
            (self._by_image, frozenset[str]()),
            (self._by_label, frozenset({_BY_LABEL})),
            (self._by_image_folded, frozenset({_BY_CASE})),
            (self._by_label_folded, frozenset({_BY_LABEL, _BY_CASE})),
        )
        for place, key in enumerate(keys):
            for index, how in indices:
                found = index.get(key.casefold() if _BY_CASE in how else key, ())
                if len(found) == 1:
                    return FoundNames(found, how | ({_BY_PATH} if place else set()))
        return FoundNames()


def _ends(file: FoundFile) -> list[str]:
    """`a/b/c.png` → `c`, `b/c`, `a/b/c`."""
    parts = (*file.folders, file.stem)
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _keys(text: str) -> list[str]:
    """A listed name without a picture's ending, whole first, then with ever fewer of the folders it begins with."""
    parts = [part for part in PurePosixPath(text.strip().replace("\\", "/")).parts if part != "/"]
    if not parts:
        return []
    stem, dot, ending = parts[-1].rpartition(".")
    if dot and f".{ending.lower()}" in PICTURE_SUFFIXES:
        parts[-1] = stem
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _folded(index: dict[str, list[Candidate]]) -> dict[str, list[Candidate]]:
    folded: dict[str, dict[str, Candidate]] = defaultdict(dict)
    for key, candidates in index.items():
        folded[key.casefold()] |= {candidate.name: candidate for candidate in candidates}
    return {key: list(by_name.values()) for key, by_name in folded.items()}
