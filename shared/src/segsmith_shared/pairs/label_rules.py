"""One decision over all label files of a set: how each is read, or why not, with the command that resolves it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from segsmith_shared.pairs.bad_pictures import (
    BadPicture,
    LabelLooksLikePicture,
    LabelWithoutThreshold,
    SeveralColours,
    SeveralValues,
)
from segsmith_shared.pairs.classes import BACKGROUND, MOST_CLASSES, ClassSpec, LabelKind, WrongClasses, checked_classes
from segsmith_shared.pairs.label_evidence import LabelEvidence, are_near, is_black
from segsmith_shared.pairs.label_values import VOC_VOID, Coding

How = Literal["half", "ones", "above_background", "indices", "foreground"]

_OF_A_SET = 0.25  # of the files that show something: so many of several values make it a set of such
_OF_A_LARGE_SET = 0.05  # as do so many, if it isn't one odd file
_YES = {1, 255, 65535}  # different ways of saving the same two-valued mask
_SHOWN = 8


@dataclass(frozen=True)
class LabelRule:
    """How one label file is read.

    `half`: lesion from half of the range on. `ones`: where the value is 1. `above_background`: every value (or colour)
    but the background's. `indices`: the same of a palette's indices. `foreground`: where the value or colour is
    `foreground`. Pixels of the value `unknown` are `IGNORE`. `note` says all this to people, where it is not usual.
    """

    how: How = "half"
    unknown: int | None = None
    foreground: str = ""
    note: str = ""


Decision = LabelRule | BadPicture


def decided(
    evidence: Sequence[LabelEvidence | None], labels: LabelKind = "auto", foreground: str | None = None
) -> list[Decision]:
    """How each file is read, or the problem that refuses it.

    Files whose evidence is None (they could not be read, or need none) get the rule that holds without looking.
    """
    if foreground is not None:
        return [LabelRule("foreground", foreground=foreground)] * len(evidence)
    if labels == "binary":
        return [LabelRule()] * len(evidence)
    if labels == "palette":
        return [LabelRule("indices", VOC_VOID)] * len(evidence)
    seen = [each for each in evidence if each is not None]
    by_coding: dict[Coding, _Set] = {
        "grey": _GreySet([each for each in seen if each.coding == "grey"]),
        "palette": _MarkSet([each for each in seen if each.coding == "palette"]),
        "colour": _MarkSet([each for each in seen if each.coding == "colour"]),
    }
    decide = _as_instances if labels == "instances" else _decision
    return [LabelRule() if each is None else decide(by_coding[each.coding], each) for each in evidence]


def classes_shown(evidence: Sequence[LabelEvidence | None]) -> tuple[ClassSpec, ...]:
    """The classes of a set whose every value (or colour) but the background's is one: class1, class2 … in order.

    The background is 0 or black, or what most borders show. Raises WrongClasses where there are none, or more than 8.
    """
    seen = [each for each in evidence if each is not None and each.shows != "picture"]
    if len({each.coding == "colour" for each in seen}) > 1:
        raise WrongClasses("Some labels are coloured and some are not.", hint=_GIVE_CLASSES)
    marks = _Marks(seen)
    if not marks.name_classes:
        raise WrongClasses(
            "The labels' values differ by compression or soft edges, and name no classes.", hint=_NO_LOSS
        )
    listed = _as_classes(marks)
    if not 1 <= len(marks.lesions) <= MOST_CLASSES:
        shown = ", ".join(marks.lesions[:_SHOWN]) or "none"
        raise WrongClasses(f"The labels show {len(marks.lesions)} classes ({shown}).", hint=_GIVE_CLASSES)
    return checked_classes(
        [{"name": name, "colour" if mark.startswith("#") else "value": mark} for name, mark in listed.items()]
    )


class _Set(Protocol):
    """All label files of one coding, and what they show together."""

    marks: "_Marks"

    def decision(self, file: LabelEvidence) -> Decision: ...


def _decision(of: _Set, file: LabelEvidence) -> Decision:
    if file.shows != "picture":
        return of.decision(file)
    return LabelLooksLikePicture(f"{file.distinct} different {_THINGS[file.coding]}, and hardly an even area")


def _as_instances(of: _Set, file: LabelEvidence) -> LabelRule:
    """Every value (index, colour) but the background's is lesion, as somebody said."""
    if file.coding == "palette":
        void = VOC_VOID if str(VOC_VOID) in file.marks else None
        return LabelRule("indices", VOC_VOID, note=f"every index but the background's read as lesion{_but(void)}")
    unknown = of.marks.unknown if file.coding == "grey" else None
    return LabelRule("above_background", unknown, note=f"every value above 0 read as lesion{_but(unknown)}")


class _Marks:
    """The values, indices or colours that some files show together, with the pixels of each."""

    def __init__(self, files: Sequence[LabelEvidence], *, void: bool = True) -> None:
        self.pixels: Counter[str] = Counter()
        self.apart = max((file.apart for file in files), default=0)
        # by value every pixel must be listed, which those of edges and noise cannot be; colours go to the nearest
        self.name_classes = self.apart == 0 or any(file.coding == "colour" for file in files)
        for file in files:
            for mark, pixels in zip(file.marks, file.pixels, strict=True):
                if not file.faint or int(mark) in {0, VOC_VOID, *file.faint}:
                    self.pixels[self.known_as(mark)] += pixels
        borders = Counter(self.known_as(file.border) for file in files)
        backgrounds = {mark for mark in self.pixels if _is_zero(mark, self.apart)}
        backgrounds |= {str(file.background) for file in files}
        usual = borders.most_common(1)[0][0] if borders else "0"
        self.usual_background = not borders or usual in backgrounds or usual not in self.pixels
        self.background = "0" if self.usual_background else usual
        values = {int(mark) for mark in self.pixels if not mark.startswith("#")}
        # 255 beside small numbers means unknown, unless counting reaches it or it surrounds everything
        beside = VOC_VOID in values and self.background != str(VOC_VOID) and max(values) == VOC_VOID
        beside = beside and not values & {*range(128, VOC_VOID)} and len(values) > 2
        # … or is most of what is marked, or all that other files mark: a lesion
        marked_px = sum(n for mark, n in self.pixels.items() if mark != self.background)
        minor = len(files) == 1 or 2 * self.pixels[str(VOC_VOID)] <= marked_px  # a file alone may be mostly unknown
        self.unknown = VOC_VOID if void and beside and minor else None
        ignored = {self.background, *(backgrounds if self.usual_background else ()), str(self.unknown)}
        self.lesions = sorted((mark for mark in self.pixels if mark not in ignored), key=_order)

    def known_as(self, mark: str) -> str:
        """A colour as near to one before as the files' noise goes is the same; a value is itself."""
        if not mark.startswith("#"):
            return mark
        return next((each for each in self.pixels if are_near(each, mark, self.apart)), mark)


class _GreySet:
    """Grey labels: two values, 0 and 1, instances, or a map of classes."""

    def __init__(self, files: Sequence[LabelEvidence]) -> None:
        faint = Counter(value for file in files for value in file.faint)
        two = sum(file.shows == "two values" for file in files)
        # almost black borders of some files are no classes; what a quarter of the files show, or counts from 1, is
        meant = {value for value, times in faint.items() if times > _OF_A_SET * two} | ({1} & faint.keys())
        of_several = [file for file in files if self._of_several(file) or meant & set(file.faint)]
        several = {id(file) for file in of_several}
        single = [file for file in files if id(file) not in several and file.shows != "picture"]
        odd = _excluding_each_other(single)
        self.several = several | {id(file) for file in odd}
        several_files = [file for file in files if id(file) in self.several]
        self.instances = any(file.instances for file in several_files)
        plain = any(_lesion_value(file) == VOC_VOID for file in single if file.shows == "two values")
        self.marks = _Marks(several_files, void=not plain)
        self.mostly = _are_many(len(several_files), sum(file.shows != "nothing" for file in files))

    @staticmethod
    def _of_several(file: LabelEvidence) -> bool:
        return file.shows == "several" and not file.values <= {0, 1} and not _is_one_dark_value(file)

    def decision(self, file: LabelEvidence) -> Decision:
        if id(file) in self.several or self._may_be_one(file):
            return self._of_map(file)
        if file.shows == "nothing":
            return LabelRule()
        if file.values <= {0, 1}:
            return LabelRule("ones", note="label values 0 and 1 read as background and lesion")
        highest = max(file.values)
        if file.shows == "two values" or highest >= (128 * 257 if file.deep else 128):
            return LabelRule(note=_merged_with_black(file))
        shown = f"its highest value is {highest}, lesion begins at {128 * 257 if file.deep else 128}"
        return LabelWithoutThreshold(shown, f"if {highest} is the lesion's value: --foreground {highest}")

    def _may_be_one(self, file: LabelEvidence) -> bool:
        """Of two values or one, which the maps of the same set show as well: as likely as not a map itself."""
        if not self.mostly:
            return False
        if file.shows == "nothing":
            return not self.marks.usual_background
        return file.exact and all(mark in self.marks.pixels for mark in file.marks)

    def _of_map(self, file: LabelEvidence) -> Decision:
        unknown = self.marks.unknown
        if self.instances and file.exact:
            return LabelRule(
                "above_background", unknown, note=f"instances: every value above 0 is lesion{_but(unknown)}"
            )
        if self.marks.lesions == ["1"] and self.marks.usual_background:
            return LabelRule("ones", unknown, note=f"value 1 read as lesion{_but(unknown)}")
        return SeveralValues(_shown(file), _commands(self.marks))


class _MarkSet:
    """Labels by palette index or by colour: one lesion, instances, or several classes."""

    def __init__(self, files: Sequence[LabelEvidence]) -> None:
        self.marks = _Marks(files)
        self.instances = any(file.instances for file in files)
        only = [shown[0] for file in files if len(shown := self._lesions_of(file)) == 1]
        usual, times = Counter(only).most_common(1)[0] if only else ("", 0)
        showing = sum(bool(self._lesions_of(file)) for file in files)
        self.lesion = usual if times and not _are_many(showing - times, showing) else None

    def _lesions_of(self, file: LabelEvidence) -> list[str]:
        background = {str(file.background)} if file.coding == "palette" else set()
        void = {str(VOC_VOID)} if file.coding == "palette" else set()
        marks = dict.fromkeys(self.marks.known_as(mark) for mark in file.marks)
        return [
            mark
            for mark in marks
            if mark not in background | void and not (mark.startswith("#") and is_black(mark, file.apart))
        ]

    def decision(self, file: LabelEvidence) -> Decision:
        lesions = self._lesions_of(file)
        if file.coding == "palette" and (self.instances or not lesions or lesions == [self.lesion]):
            return self._by_index(file, lesions)
        if lesions and lesions != [self.lesion]:
            problem = SeveralColours if file.coding == "colour" else SeveralValues
            return problem(_shown(file), _commands(self.marks))
        if lesions and max(bytes.fromhex(lesions[0][1:])) < 128:
            what = f"its only colour is the dark {lesions[0]}"
            return LabelWithoutThreshold(what, f"if that is the lesion: --foreground '{lesions[0]}'")
        return LabelRule()

    def _by_index(self, file: LabelEvidence, lesions: Sequence[str]) -> LabelRule:
        void = VOC_VOID if str(VOC_VOID) in file.marks else None
        which = "every index but the background's" if self.instances else f"index {self.lesion}"
        note = f"palette: {which} read as lesion{_but(void)}" if lesions else f"palette: no lesion{_but(void)}"
        return LabelRule("indices", VOC_VOID, note=note if lesions or void else "")


_THINGS = {"grey": "values", "palette": "palette indices", "colour": "colours"}
_NO_LOSS = "Save them as PNG without smoothing, or read the values around one with --foreground VALUE."
_GIVE_CLASSES = "Name them with --classes, or read all of them as lesion with --labels instances."


def _are_many(files: int, of: int) -> bool:
    """Whether so many files are what their set is, and no oddity of theirs."""
    return files >= _OF_A_SET * of or (files > 1 and files >= _OF_A_LARGE_SET * of)


def _lesion_value(file: LabelEvidence) -> int:
    """The most frequent value of a two-valued file that can be its lesion; 0 where it shows none."""
    half = 128 * 257 if file.deep else 128
    ranked = [value for value in map(int, file.marks) if value > 0]
    return next((value for value in ranked if value >= half), ranked[0] if ranked and file.shows != "nothing" else 0)


def _excluding_each_other(files: Sequence[LabelEvidence]) -> list[LabelEvidence]:
    """Two-valued files whose lesions' values differ over the set, beyond noise: classes, each in files of its own.

    A few odd ones alone where the others agree.
    """
    by_value: dict[int, list[LabelEvidence]] = {}
    for file in files:
        value = _lesion_value(file)
        if value == 0:
            continue
        apart = file.apart
        yes = any(abs(value - each) <= apart for each in _YES)
        known = VOC_VOID if yes else next((each for each in by_value if abs(value - each) <= apart), value)
        by_value.setdefault(known, []).append(file)
    if len(by_value) < 2:
        return []
    usual = max(by_value.values(), key=len)
    odd = [file for group in by_value.values() if group is not usual for file in group]
    return [*usual, *odd] if _are_many(len(odd), len(usual) + len(odd)) else odd


def _merged_with_black(file: LabelEvidence) -> str:
    if not file.faint:
        return ""
    shown = ", ".join(
        f"{mark} ({n} px)" for mark, n in zip(file.marks, file.pixels, strict=True) if int(mark) in file.faint
    )
    return f"almost black read as background: {shown}"


def _is_zero(mark: str, apart: int) -> bool:
    return is_black(mark, apart) if mark.startswith("#") else mark == "0"


def _order(mark: str) -> tuple[int, str]:
    return (0, mark) if mark.startswith("#") else (int(mark), "")


def _is_one_dark_value(file: LabelEvidence) -> bool:
    """0 and one value under half of the range, or noise around both: unclear, but of two values."""
    half = 128 * 257 if file.deep else 128
    return max(file.values) < half and (len(file.values - {0}) == 1 or not file.exact)


def _but(unknown: int | None) -> str:
    return "" if unknown is None else f", {unknown} as unknown (not counted)"


def _shown(file: LabelEvidence) -> str:
    """What a file shows, with counts: `values 0 (900 px), 128 (80 px) and 20 more`."""
    chosen = [(mark, n) for mark, n in zip(file.marks, file.pixels, strict=True)]
    if file.faint:
        chosen = [(mark, n) for mark, n in chosen if int(mark) in {0, VOC_VOID, *file.faint}]
    named = ", ".join(f"{mark} ({n} px)" for mark, n in sorted(chosen[:_SHOWN], key=lambda each: _order(each[0])))
    more = file.distinct - min(_SHOWN, len(chosen)) if not file.faint else 0
    return f"{_THINGS[file.coding]} {named}" + (f" and {more} more" if more > 0 else "")


def _as_classes(marks: _Marks) -> dict[str, str]:
    listed = {f"class{number}": mark for number, mark in enumerate(marks.lesions, start=1)}
    return listed if marks.usual_background else listed | {BACKGROUND: marks.background}


def _commands(marks: _Marks) -> str:
    """The options that resolve a set of several values: by class, all as one lesion, or one of them."""
    ways = []
    if marks.name_classes and 1 <= len(marks.lesions) <= MOST_CLASSES:
        listed = ",".join(f"{name}={mark}" for name, mark in _as_classes(marks).items())
        ways.append(f"name what they are: --classes {_quoted(listed)}")
    if marks.name_classes and marks.lesions == ["128", "255"]:
        ways.append("where 128 is unknown: --classes lesion=255,ignore=128")
    if marks.lesions == ["1", "255"]:
        ways.append("where 255 is unknown: --classes lesion=1,ignore=255")
    if not marks.name_classes:
        ways.append("if they are soft edges of one lesion: --labels binary")
    if marks.usual_background:
        ways.append("to read all of them as lesion: --labels instances")
    if marks.lesions:
        others = f" (or {', '.join(marks.lesions[1:])})" if 1 < len(marks.lesions) <= MOST_CLASSES else ""
        ways.append(f"to read one of them: --foreground {_quoted(marks.lesions[0])}{others}")
    return "; ".join(ways)


def _quoted(value: str) -> str:
    return f"'{value}'" if "#" in value else value
