"""A folder of pictures becomes checked pairs and a report that names every file it could not use.

The same code serves the import job and the offline command: one pass, bounded memory, order by name, and nothing
else is lost because of a bad file.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from segsmith_shared.pairs.bad_pictures import BadPicture, LabelLooksLikePicture
from segsmith_shared.pairs.classes import (
    CLASSES_FILE,
    Classes,
    ClassSpec,
    LabelKind,
    WrongClasses,
    marks_of,
    names_of,
    read_class_list,
)
from segsmith_shared.pairs.formats import Candidate, FolderListing, FoundFile, Matching, find_files, nearest, recognise
from segsmith_shared.pairs.formats.leftovers import asides, endings, no_layout, united, unread_files
from segsmith_shared.pairs.grouping import by_column, by_pattern, check_column, check_pattern
from segsmith_shared.pairs.id_lists import FOREIGN_BELOW, IDS_FILE, read_id_list, select
from segsmith_shared.pairs.import_report import (
    ClassCount,
    Counts,
    Finding,
    GroupSource,
    ImportReport,
    Severity,
    Spread,
    Statistics,
)
from segsmith_shared.pairs.label_evidence import LabelEvidence
from segsmith_shared.pairs.label_rules import Decision, LabelRule, classes_shown, decided
from segsmith_shared.pairs.limited import ProcessLimits
from segsmith_shared.pairs.near_duplicates import (
    COLOUR_SIMILARITY,
    Look,
    joined_groups,
    near_duplicate_pairs,
    turned_copies,
)
from segsmith_shared.pairs.plausibility import Doubt, PairTraits, doubts_about, labels_like_pictures, swapped
from segsmith_shared.pairs.reading import EncodedPair, PairReaders, ReadingFailure, ReadingRequest, ReadPair
from segsmith_shared.pairs.text_files import MAXIMUM_LIST_BYTES, UnreadableText, decoded

__all__ = ["CheckOptions", "CheckedPair", "Finding", "ImportReport", "check_folder"]

MOST_READERS = 8  # beyond, one parent cannot take the pictures as fast as they come
FULL_FRACTION = 0.98
MOST_SWAPS_LOOKED_AT = 20
SURVEYED_BETWEEN_STEPS = 50
SMALL_LESION_PX, AT_SIDE_PX = 16, 256

OnProgress = Callable[[int, int], object]


class CheckOptions(BaseModel):
    """How a folder is read. An import request gives these fields as its `options`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: list[str] | None = Field(None, description="only these pairs, by name; an ids.txt in the folder does the same")
    include: list[str] = Field(default_factory=list, description="only files whose path matches one, e.g. data_C*/*")
    procedure: Literal["corrected", "authors"] = Field("corrected", description="labels at ≥ 128, or at > 0")
    classes: Classes | None = Field(
        None,
        description="values or colours of labels that tell classes apart; a classes.json in the folder does the same",
    )
    labels: LabelKind = Field(
        "auto",
        description="how label files without classes are read: binary from half of the range on, instances with every "
        "value above 0 as lesion, classes with every value as one, palette by index; auto decides over the whole set",
    )
    foreground: Annotated[str, StringConstraints(to_lower=True, pattern=r"^(\d{1,5}|#[0-9a-fA-F]{6})$")] | None = Field(
        None, description="the value (0 where black is the lesion), palette index or colour of lesions"
    )
    empty_labels: Literal["reject", "keep"] = "keep"
    strict: bool = Field(False, description="import nothing where the set as a whole is implausible")
    at_side_px: int | None = Field(None, ge=16, le=2048, description="count lesions that vanish at a preset's side")
    maximum_pixels: int = Field(64_000_000, ge=1, le=400_000_000)
    near_duplicate_similarity: float = Field(COLOUR_SIMILARITY, ge=0.5, le=1)
    group_pattern: Annotated[str, AfterValidator(check_pattern)] | None = Field(
        None, max_length=1000, description="regular expression over names or paths: its first group is the patient"
    )
    group_column: Annotated[str, AfterValidator(check_column)] | None = Field(
        None, max_length=1000, description="FILE.csv:COLUMN in the folder: the patient or sequence of each image"
    )

    @model_validator(mode="after")
    def _one_way_to_group(self) -> Self:
        if self.group_pattern is not None and self.group_column is not None:
            raise ValueError("give a group_pattern or a group_column, not both")
        return self

    @model_validator(mode="after")
    def _one_way_to_read(self) -> Self:
        if self.foreground is not None and (self.labels != "auto" or self.classes):
            raise ValueError("foreground, classes and another labels than auto exclude each other")
        if self.classes and self.labels not in {"auto", "classes"}:
            raise ValueError(f"classes are read by value or colour, not as labels = {self.labels}")
        return self


@dataclass(frozen=True)
class CheckedPair:
    """An accepted pair in the order of names, with what an import stores of it."""

    name: str
    read: ReadPair
    encoded: EncodedPair


OnPair = Callable[[CheckedPair], object]


def check_folder(
    root: Path,
    options: CheckOptions | None = None,
    on_progress: OnProgress | None = None,
    on_pair: OnPair | None = None,
    workers: int | None = None,
    *,
    follow_links: bool = True,
) -> ImportReport:
    """Pair, read and check everything below `root`; links of files from elsewhere are better not followed.

    `on_progress(done, total)` counts pairs read; `on_pair` gets every accepted pair, encoded, in the order of names
    (without it nothing is encoded, which is faster). What a callback raises ends the check. `workers` are reading
    processes, up to eight unless given. A folder without a single pair gives a report that says so, not an error.
    With `options.strict` all pairs are read before `on_pair` gets the first, and it gets none of an implausible set.
    Raises WrongClasses, GroupsNotFound.
    """
    check = _Check(options or CheckOptions())
    candidates = check.candidates_of(find_files(root, follow_links=follow_links))
    with PairReaders(workers or min(MOST_READERS, len(os.sched_getaffinity(0))), _limits_for(check.options)) as readers:
        check.decide_labels(candidates, readers, on_progress)
        early = None if check.options.strict else on_pair
        for done, (candidate, outcome) in enumerate(_read(check, candidates, readers, encode=bool(early)), start=1):
            accepted = check.take(candidate, outcome)
            if early is not None and accepted is not None and accepted.encoded is not None:
                early(CheckedPair(candidate.name, accepted, accepted.encoded))
            if on_progress is not None:
                on_progress(done, len(candidates))
        report = check.report()
        if on_pair is not None and early is None and report.accepted:
            for done, pair in enumerate(_encoded_again(check, readers), start=1):
                on_pair(pair)
                if on_progress is not None:
                    on_progress(done, report.accepted)
    return report


def _read(
    check: "_Check", candidates: Sequence[Candidate], readers: PairReaders, *, encode: bool
) -> Iterator[tuple[Candidate, ReadPair | ReadingFailure]]:
    """Each candidate with what became of it; those whose labels are refused are not read."""
    refused = {candidate: check.refusal_of(candidate) for candidate in candidates}
    wanted = (_request(check, candidate, encode=encode) for candidate in candidates if refused[candidate] is None)
    outcomes = readers.read(wanted)
    for candidate in candidates:
        yield candidate, refused[candidate] or next(outcomes)


def _encoded_again(check: "_Check", readers: PairReaders) -> Iterator[CheckedPair]:
    candidates = [pair.candidate for pair in check.accepted]
    for candidate, outcome in _read(check, candidates, readers, encode=True):
        if isinstance(outcome, ReadingFailure) or outcome.encoded is None:
            raise RuntimeError(f"{candidate.name} was read once, and then not again")
        yield CheckedPair(candidate.name, outcome, outcome.encoded)


def _limits_for(options: CheckOptions) -> ProcessLimits:
    # RGB, a conversion of it, label, filtered rows and PNG are about 16 bytes a pixel; the interpreter takes the rest.
    return ProcessLimits(memory_bytes=2**29 + 16 * options.maximum_pixels)


def _request(check: "_Check", candidate: Candidate, *, encode: bool) -> ReadingRequest:
    return ReadingRequest(
        image_path=str(candidate.image.location),
        label_paths=tuple(str(label.location) for label in candidate.labels),
        procedure=check.options.procedure,
        maximum_pixels=check.options.maximum_pixels,
        encode=encode,
        classes=marks_of(check.classes),
        label_rules=check.rules_of(candidate),
        at_side_px=check.options.at_side_px,
    )


@dataclass(frozen=True)
class _Accepted:
    """What is kept of a pair until the report: no pixels."""

    candidate: Candidate
    size: tuple[int, int]
    lesion_fraction: float
    lesion_count: int
    largest_lesion_fraction: float
    class_pixels: list[int]
    image_digest: str
    label_digest: str
    grey: bool
    look: Look
    traits: PairTraits


@dataclass
class _Check:
    options: CheckOptions
    counts: Counts = field(default_factory=Counts)
    findings: list[Finding] = field(default_factory=list)
    accepted: list[_Accepted] = field(default_factory=list)
    matching: Matching | None = None
    classes: tuple[ClassSpec, ...] = ()
    grouped_by: str = "sequence names of the layout"
    decisions: dict[FoundFile, Decision] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def candidates_of(self, listing: FolderListing) -> list[Candidate]:
        """The pairs to read; what the names alone tell is noted. Raises WrongClasses, GroupsNotFound."""
        files = listing.files
        self.findings += listing.findings
        self.classes = self.options.classes or self._classes_of_folder(files)
        chosen = [file for file in files if self._included(file)]
        self.counts.files = len(files)
        self.matching = recognise(chosen)
        if self.matching is None:
            self._find_nothing(chosen)
            return []
        self._note_matching(self.matching)
        candidates = self._listed(self.matching.candidates, files)
        self.counts.pairs_by_name = len(candidates)
        return self._grouped(candidates, files)

    def _included(self, file: FoundFile) -> bool:
        return not self.options.include or any(fnmatch(str(file.path), glob) for glob in self.options.include)

    def _find_nothing(self, files: Sequence[FoundFile]) -> None:
        near = nearest(files)
        self.counts.images_without_label = sum(file.is_picture for file in files)
        self._note_other_files([file for file in files if not file.is_picture])
        self.findings.append(no_layout(files, near))
        if near is not None:
            self._note_refused(near)

    def _note_matching(self, matching: Matching) -> None:
        self.counts.images_without_label = len(matching.images_alone)
        self.counts.labels_without_image = len(matching.labels_alone)
        for file in matching.images_alone:
            self._find("error", "missing-label", file.path, "image without a label", "add its label")
        for file in matching.labels_alone:
            self._find("error", "missing-image", file.path, "label without an image", "add its image")
        for file in matching.ignored:
            if file.is_picture:
                self._find("note", "unused-picture", file.path, "neither an image nor a label in this layout")
        self.findings += asides(matching) + united(matching)
        self._note_other_files([*matching.ignored, *(file for found in matching.asides.values() for file in found)])
        self._note_refused(matching)

    def _note_other_files(self, files: Sequence[FoundFile]) -> None:
        self.counts.other_files = len(files)
        self.counts.other_endings = endings(files)
        self.findings += unread_files(files)

    def _note_refused(self, matching: Matching) -> None:
        self.counts.rejected += len(matching.refused)
        self.findings += matching.refused

    def _listed(self, candidates: list[Candidate], files: Sequence[FoundFile]) -> list[Candidate]:
        """Those of the id list of the options, else of the folder's own `ids.txt`, else all."""
        if self.options.ids is not None:
            selection = select(self.options.ids, candidates)
        else:
            listing = self._listing(files, IDS_FILE)
            lines = self._lines_of(listing) if listing else []
            if listing is None or not lines:
                return candidates
            selection = select(lines, candidates, str(listing.path))
            if not selection.lines:
                return candidates
            if selection.matched_lines < FOREIGN_BELOW * selection.lines:
                share = f"{selection.matched_lines} of its {selection.lines} lines name a pair"
                what = f"{share}: not used, all pairs are read"
                self._find("warning", "list-not-used", listing.path, what, "rename it, or give the right list (--ids)")
                return candidates
            self._find("note", "list-used", listing.path, "only the pairs it lists are used")
        self.findings += selection.findings
        self.counts.not_in_list = len(candidates) - len(selection.candidates)
        return selection.candidates

    def _lines_of(self, listing: FoundFile) -> list[str]:
        try:
            return read_id_list(listing.location.read_bytes(), str(listing.path))
        except UnreadableText as problem:
            self._find("warning", "list-not-used", listing.path, problem.detail, problem.hint)
            return []

    def _grouped(self, candidates: list[Candidate], files: Sequence[FoundFile]) -> list[Candidate]:
        """The candidates with their patients or sequences as the options say. Raises GroupsNotFound."""
        if self.options.group_pattern is not None:
            grouped = by_pattern(candidates, self.options.group_pattern)
        elif self.options.group_column is not None:
            grouped = by_column(candidates, self.options.group_column, files)
        else:
            return candidates
        self.grouped_by = grouped.how
        self.findings += grouped.findings
        return grouped.candidates

    def _classes_of_folder(self, files: Sequence[FoundFile]) -> tuple[ClassSpec, ...]:
        """Those of the folder's own `classes.json`; none where it has none that is ours.

        Raises WrongClasses where two lie equally high and differ: neither can speak for the other's labels.
        """
        listing = self._listing(files, CLASSES_FILE)
        if listing is None:
            return ()
        classes = read_class_list(_text(listing))
        for other in files:
            beside = other.path.name.lower() == CLASSES_FILE and len(other.folders) == len(listing.folders)
            if beside and other is not listing and (_too_large(other) or read_class_list(_text(other)) != classes):
                raise WrongClasses(
                    f"{listing.path} and {other.path} list different classes.",
                    hint="Import the folders one by one, or give the classes with --classes.",
                )
        if classes is None:
            what = (
                "not read: it lists no `classes` by name and value or colour, so that labels are read as lesion or not"
            )
            self._find("warning", "classes-not-read", listing.path, what, "give the classes otherwise")
            return ()
        self._find("note", "classes-used", listing.path, "labels are read by the classes that it lists")
        return classes

    def _listing(self, files: Sequence[FoundFile], name: str) -> FoundFile | None:
        """The folder's own file of this name that lies highest."""
        lists = [file for file in files if file.path.name.lower() == name]
        if not lists:
            return None
        shallowest = min(lists, key=lambda file: len(file.folders))
        if _too_large(shallowest):
            self._find("warning", "list-too-large", shallowest.path, "not read: over 16 MiB", "give the list otherwise")
            return None
        return shallowest

    def decide_labels(
        self, candidates: Sequence[Candidate], readers: PairReaders, on_progress: OnProgress | None = None
    ) -> None:
        """How every label file is read, from what all of them show. Raises WrongClasses.

        Only labels without a given rule are looked at for it.
        """
        if self.classes:
            return
        options = self.options
        files = list(dict.fromkeys(label for candidate in candidates for label in candidate.labels))
        evidence: list[LabelEvidence | None] = [None] * len(files)
        if options.foreground is None and options.labels in {"auto", "classes", "instances"}:
            surveyed = readers.survey([file.location for file in files], options.maximum_pixels)
            for index, shown in enumerate(surveyed):
                evidence[index] = shown
                if on_progress is not None and (index + 1) % SURVEYED_BETWEEN_STEPS == 0:
                    on_progress(0, len(candidates))
        if options.labels == "classes" and candidates:
            self.classes = classes_shown(evidence)
            listed = ", ".join(f"{each.name}={each.colour or each.value}" for each in self.classes)
            self._find("note", "classes-used", ".", f"labels are read as {listed}")
            return
        self.decisions = dict(zip(files, decided(evidence, options.labels, options.foreground), strict=True))
        self._doubt_pictures(candidates, readers)

    def _doubt_pictures(self, candidates: Sequence[Candidate], readers: PairReaders) -> None:
        """Labels that look like pictures: exchanged with the images, or drawn over them."""
        doubtful = [
            candidate
            for candidate in candidates
            if any(isinstance(self.decisions.get(label), LabelLooksLikePicture) for label in candidate.labels)
        ]
        if not doubtful:
            return
        some = doubtful[:MOST_SWAPS_LOOKED_AT]
        images = list(readers.survey([candidate.image.location for candidate in some], self.options.maximum_pixels))
        like_labels = [c for c, shown in zip(some, images, strict=True) if shown and shown.shows != "picture"]
        if len(like_labels) > len(some) / 2:
            first = like_labels[0]
            self._doubt(swapped(str(first.label_path), str(first.image.path), len(doubtful)))
        else:
            files = [str(candidate.label_path) for candidate in doubtful]
            self._doubt(labels_like_pictures(files, len(candidates)))

    def refusal_of(self, candidate: Candidate) -> ReadingFailure | None:
        """Why the pair is not read, where one of its label files is refused."""
        for label in candidate.labels:
            decision = self.decisions.get(label)
            if isinstance(decision, BadPicture):
                return ReadingFailure("label", decision.code, decision.detail, decision.hint)
        return None

    def rules_of(self, candidate: Candidate) -> tuple[LabelRule, ...]:
        """How each label file of a pair that is not refused is read; none where classes say it."""
        decisions = [self.decisions.get(label) for label in candidate.labels]
        return tuple(decision for decision in decisions if isinstance(decision, LabelRule))

    def take(self, candidate: Candidate, outcome: ReadPair | ReadingFailure) -> ReadPair | None:
        """The pair, once it is in the report; None, and why, where it cannot be used."""
        if isinstance(outcome, ReadingFailure):
            self._reject(candidate, outcome)
            return None
        if outcome.lesion_fraction == 0 and self.options.empty_labels == "reject":
            self.counts.rejected += 1
            self._find("error", "empty-label", candidate.label_path, "the label marks no pixel", "mark the lesion")
            return None
        self._note_pair(candidate, outcome)
        self.counts.negatives_accepted += outcome.lesion_fraction == 0
        self.counts.ignored_regions += outcome.ignored_fraction > 0
        self.accepted.append(
            _Accepted(
                candidate,
                (outcome.width_px, outcome.height_px),
                outcome.lesion_fraction,
                outcome.lesion_count,
                outcome.largest_lesion_fraction,
                outcome.class_pixels,
                outcome.image_pixels_digest,
                outcome.label_pixels_digest,
                outcome.grey,
                outcome.look,
                _traits_of(candidate, outcome),
            )
        )
        return outcome

    def _reject(self, candidate: Candidate, failure: ReadingFailure) -> None:
        self.counts.rejected += 1
        paths = {"image": candidate.image.path, "label": candidate.label_path}
        self._find("error", failure.code, paths.get(failure.part, candidate.image.path), failure.detail, failure.advice)

    def _note_pair(self, candidate: Candidate, read: ReadPair) -> None:
        for path, notes in ((candidate.image.path, read.image_notes), (candidate.label_path, read.label_notes)):
            for note in notes:
                self._find("note", "converted", path, note)
        if read.lesion_fraction >= FULL_FRACTION:
            self._find(
                "warning", "full-label", candidate.label_path,
                f"the label marks {read.lesion_fraction:.0%} of the picture", "is it inverted?",
            )  # fmt: skip

    def report(self) -> ImportReport:
        """Everything found, once all pairs were read."""
        self.counts.accepted = len(self.accepted)
        self._note_exact_duplicates()
        self._doubt_set()
        classes = self._class_counts()
        groups, group_sources = self._groups()
        self.counts.near_duplicate_groups = len(groups)
        self.counts.pairs_in_groups = sum(map(len, groups))
        return ImportReport(
            layout=self.matching.layout if self.matching else "",
            layout_because=self.matching.why if self.matching else "",
            procedure=self.options.procedure,
            counts=self.counts,
            findings=self.findings,
            groups=groups,
            group_sources=group_sources,
            classes=classes,
            refused=self.refused,
            statistics=_statistics(self.accepted) if self.accepted else None,
        )

    def _doubt_set(self) -> None:
        """What all pairs together say: one finding for each kind of doubt."""
        if self.accepted and self.counts.negatives_accepted == len(self.accepted):
            first = self.accepted[0].candidate.label_path
            what = f"no label of {len(self.accepted)} marks a lesion, e.g. this one"
            self._find("error", "no-lesion-at-all", first, what, "check that these are the labels, and --foreground")
            self.refused.append("no-lesion-at-all")
        for doubt in doubts_about([pair.traits for pair in self.accepted], self.options.at_side_px):
            self._doubt(doubt)

    def _doubt(self, doubt: Doubt) -> None:
        self._find("error" if self.options.strict else "warning", doubt.code, doubt.file, doubt.what, doubt.what_to_do)
        if self.options.strict:
            self.refused.append(doubt.code)

    def _class_counts(self) -> list[ClassCount]:
        """In how many pairs each class is seen; one that none shows is worth a look."""
        counts = [
            ClassCount(name=name, pairs=sum(pair.class_pixels[place] > 0 for pair in self.accepted))
            for place, name in enumerate(names_of(self.classes))
        ]
        for each in counts:
            if self.accepted and not each.pairs:
                self._find("warning", "class-not-shown", each.name, "no pair shows this class", "check its value")
        return counts

    def _note_exact_duplicates(self) -> None:
        first: dict[str, _Accepted] = {}
        for pair in self.accepted:
            earlier = first.setdefault(pair.image_digest, pair)
            if earlier is pair:
                continue
            self.counts.exact_duplicates += 1
            same = "the same image and label as" if earlier.label_digest == pair.label_digest else "the same image as"
            advice = "remove one" if earlier.label_digest == pair.label_digest else "decide which label is right"
            what = f"{same} {earlier.candidate.image.path}"
            self._find("warning", "duplicate", pair.candidate.image.path, what, advice)

    def _groups(self) -> tuple[list[list[str]], list[GroupSource]]:
        """Names that stay together, and how that was found out."""
        looks = [pair.look for pair in self.accepted]
        links = near_duplicate_pairs(looks, self.options.near_duplicate_similarity)
        known = {(i, j) for i, j, _ in links}
        links += [(i, j, likeness) for i, j, likeness in turned_copies(looks) if (i, j) not in known]
        for i, j, likeness in links:
            first, second = self.accepted[i], self.accepted[j]
            if first.image_digest != second.image_digest:
                what = f"looks like {first.candidate.image.path} (likeness {likeness:.3f})"
                self._find("note", "near-duplicate", second.candidate.image.path, what)
        alike = [(i, j) for i, j, _ in links]
        keys = [pair.candidate.sequence for pair in self.accepted]
        count = len(self.accepted)
        sources = [
            _group_source(self.grouped_by, joined_groups(count, [], keys)),
            _group_source("similarity", joined_groups(count, alike)),
        ]
        groups: dict[int, list[str]] = {}
        for pair, number in zip(self.accepted, joined_groups(count, alike, keys), strict=True):
            if number is not None:
                groups.setdefault(number, []).append(pair.candidate.name)
        return [groups[number] for number in sorted(groups)], [source for source in sources if source.groups]

    def _find(self, severity: Severity, code: str, file: object, what: str, what_to_do: str = "") -> None:
        self.findings.append(Finding(severity=severity, code=code, file=str(file), what=what, what_to_do=what_to_do))


def _group_source(how: str, numbers: Sequence[int | None]) -> GroupSource:
    joined = [number for number in numbers if number is not None]
    return GroupSource(how=how, groups=len(set(joined)), pairs=len(joined))


def _too_large(file: FoundFile) -> bool:
    return file.location.stat().st_size > MAXIMUM_LIST_BYTES


def _text(file: FoundFile) -> str:
    """Raises WrongClasses where the file is no text."""
    try:
        return decoded(file.location.read_bytes(), str(file.path))
    except UnreadableText as problem:
        raise WrongClasses(problem.detail, hint=problem.hint) from problem


def _traits_of(candidate: Candidate, read: ReadPair) -> PairTraits:
    return PairTraits(
        image_file=str(candidate.image.path),
        label_file=str(candidate.label_path),
        image_digest=read.image_pixels_digest,
        lesion_fraction=read.lesion_fraction,
        border_fraction=read.border_fraction,
        label_print=read.label_print,
        highest=read.highest,
        highest_possible=read.highest_possible,
        perhaps_unturned=read.perhaps_unturned,
        vanished_lesions=read.vanished_lesions,
        lesion_count=read.lesion_count,
    )


def _statistics(pairs: Sequence[_Accepted]) -> Statistics:
    widths, heights = np.array([pair.size for pair in pairs], np.float64).T
    fractions = np.array([pair.lesion_fraction for pair in pairs])
    largest = np.array([pair.largest_lesion_fraction for pair in pairs])
    across_px = 2 * np.sqrt(largest / np.pi) * AT_SIDE_PX
    return Statistics(
        width_px=_spread(widths),
        height_px=_spread(heights),
        aspect_ratio=_spread(widths / heights),
        lesion_fraction=_spread(fractions),
        lesion_fraction_histogram=np.histogram(fractions, bins=10, range=(0, 1))[0].tolist(),
        lesion_counts=dict(sorted(Counter(pair.lesion_count for pair in pairs).items())),
        small_lesions=int((across_px < SMALL_LESION_PX).sum()),
        sizes=len({pair.size for pair in pairs}),
        grey_pictures=sum(pair.grey for pair in pairs),
    )


def _spread(values: Iterable[float]) -> Spread:
    least, tenth, median, ninetieth, most = np.quantile(np.asarray(list(values)), [0, 0.1, 0.5, 0.9, 1]).tolist()
    return Spread(least=least, tenth=tenth, median=median, ninetieth=ninetieth, most=most)
