"""What a check or an import found, as one value that is stored, sent and read aloud."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["error", "warning", "note"]
_SPOKEN_PER_KIND = 12


class Finding(BaseModel):
    """Something about a file, a pair or the folder. At an error something was left out; a warning asks for a look."""

    model_config = ConfigDict(frozen=True)

    severity: Severity
    code: str = Field(description="the same for all findings of a kind, e.g. missing-label")
    file: str = Field(description="path within the folder, or a pair's name")
    what: str
    what_to_do: str = ""


class Spread(BaseModel):
    """Least, most and quantiles of one figure over the accepted pairs."""

    least: float
    tenth: float
    median: float
    ninetieth: float
    most: float


class ClassCount(BaseModel):
    """In how many pairs a class is seen."""

    name: str
    pairs: int


class Statistics(BaseModel):
    """The accepted pairs in figures. Fractions are of a picture's pixels."""

    width_px: Spread
    height_px: Spread
    aspect_ratio: Spread
    lesion_fraction: Spread
    lesion_fraction_histogram: list[int] = Field(description="pairs per tenth of the picture that is lesion")
    lesion_counts: dict[int, int] = Field(description="pairs by number of lesions")
    small_lesions: int = Field(description="pairs whose largest lesion is under 16 px across at 256 px")
    sizes: int = Field(description="how many different picture sizes")
    grey_pictures: int = Field(0, description="pairs whose picture has no colour")


class Counts(BaseModel):
    """Where every file of the folder went."""

    files: int = 0
    pairs_by_name: int = 0
    accepted: int = 0
    rejected: int = 0
    images_without_label: int = 0
    labels_without_image: int = 0
    not_in_list: int = 0
    negatives: int = 0
    negatives_accepted: int = Field(0, description="accepted pairs whose label marks no lesion")
    ignored_regions: int = Field(0, description="accepted pairs with pixels of which nothing is known")
    other_files: int = 0
    other_endings: dict[str, int] = Field(default_factory=dict, description="the other files by their endings")
    exact_duplicates: int = 0
    near_duplicate_groups: int = 0
    pairs_in_groups: int = 0


class GroupSource(BaseModel):
    """One way in which pairs were found to belong together, and how many it joins."""

    how: str = Field(description="e.g. similarity, pattern '^(p[0-9]+)_'")
    groups: int
    pairs: int


class ImportReport(BaseModel):
    """The result of `checking.check_folder`. `groups` are names that must stay on one side of any split."""

    layout: str = Field(description="name of the recognised layout, empty where none was")
    layout_because: str = ""
    procedure: str = "corrected"
    counts: Counts
    findings: list[Finding] = Field(default_factory=list)
    findings_left_out: int = Field(0, description="further findings, in the job's import-report.json only")
    groups: list[list[str]] = Field(default_factory=list)
    group_sources: list[GroupSource] = Field(default_factory=list, description="how the groups were made")
    refused: list[str] = Field(
        default_factory=list, description="codes of the findings for which nothing is imported, whatever was accepted"
    )
    classes: list[ClassCount] = Field(default_factory=list, description="empty where labels are lesion or not")
    statistics: Statistics | None = Field(None, description="absent when no pair was accepted")

    @property
    def accepted(self) -> int:
        """How many pairs can be used: none where the set as a whole is refused."""
        return 0 if self.refused else self.counts.accepted

    @property
    def class_names(self) -> list[str]:
        """The names of the classes 1 … F; none where labels are lesion or not."""
        return [each.name for each in self.classes]

    def shortened(self, most_findings: int) -> "ImportReport":
        """The same with at most so many findings, gravest first, and the number of those left out."""
        ranked = sorted(self.findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))
        left_out = max(0, len(ranked) - most_findings)
        return self.model_copy(update={"findings": ranked[:most_findings], "findings_left_out": left_out})

    def in_words(self) -> str:
        """The report as a person would tell it: the outcome first, then what is wrong, then what the pairs are like."""
        return "\n".join([*self._outcome(), *self._findings_in_words(), *self._statistics_in_words()])

    def _outcome(self) -> Iterable[str]:
        c = self.counts
        yield f"{many(c.accepted, 'pair')} accepted, {c.rejected} rejected, of {many(c.files, 'file')}."
        if self.refused:
            yield f"Nothing is imported: {', '.join(dict.fromkeys(self.refused))} (see below)."
        if self.layout:
            yield f"Layout: {self.layout}, because {self.layout_because}."
        if self.classes:
            yield "Classes: " + ", ".join(f"{each.name} in {many(each.pairs, 'pair')}" for each in self.classes) + "."
        asides = {
            "images without a label": c.images_without_label,
            "labels without an image": c.labels_without_image,
            "pairs not in the list": c.not_in_list,
            "negative frames (no lesion by their publisher, so no label)": c.negatives,
        }
        spoken = [f"{number} {things}" for things, number in asides.items() if number]
        if c.other_files:
            endings = ", ".join(f"{number} {ending}" for ending, number in c.other_endings.items())
            spoken.append(many(c.other_files, "other file") + (f" ({endings})" if endings else ""))
        if spoken:
            yield f"Not used: {', '.join(spoken)}."
        if c.negatives_accepted:
            yield f"{many(c.negatives_accepted, 'picture')} without a lesion (negatives)."
        if c.ignored_regions:
            yield f"{many(c.ignored_regions, 'pair')} with unknown regions, which are not counted."
        if c.near_duplicate_groups:
            how = "; ".join(
                f"{many(source.pairs, 'pair')} in {many(source.groups, 'group')} by {source.how}"
                for source in self.group_sources
            )
            yield (
                f"{many(c.pairs_in_groups, 'pair')} in {many(c.near_duplicate_groups, 'group')} of near-duplicates "
                f"or of one patient or sequence; a split keeps each group together{f' ({how})' if how else ''}."
            )

    def _findings_in_words(self) -> Iterable[str]:
        for severity, heading in (("error", "Left out"), ("warning", "Look at"), ("note", "Notes")):
            findings = [finding for finding in self.findings if finding.severity == severity]
            if findings:
                yield ""
                yield f"{heading} ({len(findings)}):"
            spoken: Counter[str] = Counter()
            for finding in findings:
                spoken[finding.code] += 1
                if spoken[finding.code] <= _SPOKEN_PER_KIND or severity == "error":
                    advice = f" ({finding.what_to_do})" if finding.what_to_do else ""
                    yield f"  {finding.file}: {finding.what}{advice}"
            yield from (
                f"  … and {number - _SPOKEN_PER_KIND} more: {code}"
                for code, number in spoken.items()
                if number > _SPOKEN_PER_KIND and severity != "error"
            )
        if self.findings_left_out:
            yield f"  … and {self.findings_left_out} more findings in import-report.json"

    def _statistics_in_words(self) -> Iterable[str]:
        s = self.statistics
        if s is None:
            return
        yield ""
        yield (
            f"Pictures: {s.width_px.least:g} to {s.width_px.most:g} px wide, {s.height_px.least:g} to "
            f"{s.height_px.most:g} px high, {many(s.sizes, 'size')}; median aspect ratio {s.aspect_ratio.median:.2f}."
        )
        if s.grey_pictures:
            yield f"{many(s.grey_pictures, 'picture')} without colour."
        yield (
            f"Lesions cover {s.lesion_fraction.median:.1%} of the picture in the median "
            f"({s.lesion_fraction.least:.2%} to {s.lesion_fraction.most:.1%})."
        )
        several = sum(number for count, number in s.lesion_counts.items() if count > 1)
        yield (
            f"{many(several, 'pair')} with more than one lesion; {s.small_lesions} whose largest lesion is under "
            "16 px across at 256 px."
        )


def many(number: int, thing: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
