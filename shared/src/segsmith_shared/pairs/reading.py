"""Pairs read many at a time by limited child processes: a bad file costs one finding, never the service.

`PairReaders` is the parent's side; run as a module, this file is the child.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from PIL import Image

from segsmith_shared.pairs.bad_pictures import BadPicture
from segsmith_shared.pairs.class_marks import ClassMark
from segsmith_shared.pairs.contact_sheet import overlay
from segsmith_shared.pairs.intake import DecodedImage, decode_image
from segsmith_shared.pairs.label_evidence import LabelEvidence
from segsmith_shared.pairs.label_files import DecodedLabel, decode_labels, survey_label
from segsmith_shared.pairs.label_rules import LabelRule
from segsmith_shared.pairs.lesions import count_lesions, lesions_that_vanish
from segsmith_shared.pairs.limited import Answer, ChildDied, LimitedProcess, ProcessLimits, serve
from segsmith_shared.pairs.near_duplicates import COLOUR_PRINT_PX, Look
from segsmith_shared.pairs.pair import IGNORE, BoolArray, ByteArray
from segsmith_shared.pairs.png_files import image_png_bytes, is_grey, jpeg_bytes, stored_label_bytes, thumbnail_of

Question = TypeVar("Question")
Reply = TypeVar("Reply")

_TURNS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


@dataclass(frozen=True)
class ReadingRequest:
    """What one child is asked: an image and its labels (united; none: a negative), and how to read them.

    `label_rules`: one for each label file, or none, where each file decides for itself. `encode` also returns what an
    import stores. `at_side_px`: also count the lesions that vanish in a model's square of this side.
    """

    image_path: str
    label_paths: tuple[str, ...]
    procedure: str = "corrected"
    maximum_pixels: int = 64_000_000
    encode: bool = True
    classes: tuple[ClassMark, ...] = ()
    label_rules: tuple[LabelRule, ...] = ()
    at_side_px: int | None = None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ReadingRequest":
        """The request that was sent as JSON."""
        classes = tuple(ClassMark(**mark) for mark in document["classes"])
        rules = tuple(LabelRule(**rule) for rule in document["label_rules"])
        lists = {"classes": classes, "label_paths": tuple(document["label_paths"]), "label_rules": rules}
        return cls(**document | lists)


@dataclass(frozen=True)
class EncodedPair:
    """What an import stores: PNGs without metadata, and JPEGs to look at."""

    image_png: bytes
    label_png: bytes
    thumbnail_jpeg: bytes
    overlay_jpeg: bytes


@dataclass(frozen=True)
class ReadPair:
    """What is known of a readable pair. Digests are of the decoded pixels; `colour_print` is uint8 16×16×3.

    `class_pixels` counts the pixels of the classes 1 … F. `border_fraction`: which share of the picture's border is
    lesion. `ignored_fraction`: of which share nothing is known. `label_print`, uint8 16×16: how much of each field is
    lesion. `highest` is the image file's greatest value of `highest_possible`. `vanished_lesions`: at that side.
    """

    width_px: int
    height_px: int
    lesion_fraction: float
    lesion_count: int
    largest_lesion_fraction: float
    class_pixels: list[int]
    border_fraction: float
    ignored_fraction: float
    highest: int
    highest_possible: int
    perhaps_unturned: bool
    vanished_lesions: int
    image_pixels_digest: str
    label_pixels_digest: str
    difference_hash: int
    perceptual_hash: int
    turned_hashes: list[tuple[int, int]]
    grey: bool
    colour_print: bytes = field(repr=False)
    label_print: bytes = field(repr=False)
    image_notes: list[str]
    label_notes: list[str]
    encoded: EncodedPair | None = field(repr=False)

    @property
    def look(self) -> Look:
        """What near-duplicates are found by."""
        turned = tuple((first, second) for first, second in self.turned_hashes)
        return Look(self.difference_hash, self.perceptual_hash, self.colour_print, turned)


@dataclass(frozen=True)
class ReadingFailure:
    """Why a pair could not be read: `part` is image, label or pair, `code` a `BadPicture`'s or a death's."""

    part: str
    code: str
    detail: str
    advice: str


ReadingOutcome = ReadPair | ReadingFailure


class PairReaders:
    """A pool of persistent limited children, one per worker. Use as a context manager; leaving it kills them."""

    def __init__(self, workers: int, limits: ProcessLimits | None = None) -> None:
        self._workers = workers
        self._children = [LimitedProcess(__name__, limits or ProcessLimits()) for _ in range(workers)]
        self._idle: SimpleQueue[LimitedProcess] = SimpleQueue()
        for child in self._children:
            self._idle.put(child)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pair-reader")

    def read(self, requests: Iterable[ReadingRequest]) -> Iterator[ReadingOutcome]:
        """Outcomes in the order of the requests; at most two per worker are held at once."""
        yield from self._in_order(self._read_one, requests)

    def survey(self, paths: Iterable[Path], maximum_pixels: int) -> Iterator[LabelEvidence | None]:
        """What each label file shows, in the order of the paths; None where it cannot be read, which reading tells."""
        yield from self._in_order(self._survey_one, ({"survey": str(path), "most": maximum_pixels} for path in paths))

    def _in_order(self, work: Callable[[Question], Reply], questions: Iterable[Question]) -> Iterator[Reply]:
        waiting: deque[Future[Reply]] = deque()
        for question in questions:
            waiting.append(self._threads.submit(work, question))
            if len(waiting) >= 2 * self._workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _survey_one(self, document: dict[str, Any]) -> LabelEvidence | None:
        answered = self._ask(document)
        if isinstance(answered, ReadingFailure) or "code" in answered[0]:
            return None
        return LabelEvidence.from_document(answered[0])

    def _read_one(self, request: ReadingRequest) -> ReadingOutcome:
        answered = self._ask(asdict(request))
        return answered if isinstance(answered, ReadingFailure) else _outcome(*answered)

    def _ask(self, document: dict[str, Any]) -> Answer | ReadingFailure:
        child = self._idle.get()
        try:
            return child.ask(document)
        except ChildDied as death:
            if death.signal_number is None:
                raise  # it could not even start: no file's fault
            return _epitaph(death)
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """Kill the children and wait for the threads that spoke with them."""
        for child in self._children:
            child.interrupt()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for child in self._children:
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _outcome(head: dict[str, Any], blobs: list[bytes]) -> ReadingOutcome:
    if "code" in head:
        return ReadingFailure(**head)
    colour_print, label_print, *encoded = blobs
    return ReadPair(
        **head, colour_print=colour_print, label_print=label_print, encoded=EncodedPair(*encoded) if encoded else None
    )


def _epitaph(death: ChildDied) -> ReadingFailure:
    if death.ran_out_of_time:
        return ReadingFailure("pair", "took-too-long", "decoding did not end in time", "export both files again")
    return ReadingFailure(
        "pair", "reader-died", f"the reading process ended with signal {death.signal_number}", "export both files again"
    )


def answer(request: ReadingRequest) -> Answer:
    """The child's work: read the files, describe them, encode them where asked."""
    part = "image"
    try:
        decoded = decode_image(Path(request.image_path), request.maximum_pixels)
        part = "label"
        paths = [Path(path) for path in request.label_paths]
        label = decode_labels(
            paths, request.maximum_pixels, request.procedure, decoded, request.classes, request.label_rules
        )
        return _described(request, decoded, label)
    except Exception as error:  # noqa: BLE001 - whatever one file does to a decoder, the others are still read
        return asdict(_failure(part, error)), []


def _failure(part: str, error: Exception) -> ReadingFailure:
    if isinstance(error, BadPicture):
        return ReadingFailure(part, error.code, error.detail, error.hint)
    if isinstance(error, MemoryError):
        detail = "decoding needs more memory than a reader may have"
        return ReadingFailure(part, "out-of-memory", detail, "reduce the picture")
    detail = f"reading it failed with {type(error).__name__}: {error}"[:500]
    return ReadingFailure(part, "reader-failed", detail, "export it again as 8-bit PNG")


def _survey(path: Path, maximum_pixels: int) -> Answer:
    try:
        return asdict(survey_label(path, maximum_pixels)), []
    except Exception as error:  # noqa: BLE001 - reading the file will say what is wrong with it
        return asdict(_failure("label", error)), []


def _described(request: ReadingRequest, decoded: DecodedImage, read_label: DecodedLabel) -> Answer:
    image, label = decoded.image, read_label.label
    lesions = (label > 0) & (label != IGNORE)
    thumbnail = thumbnail_of(image)
    classes = max((mark.number for mark in request.classes if mark.number != IGNORE), default=1)
    counts = Image.fromarray(label).histogram()
    lesion_count, largest_px = count_lesions(label)
    hashes = hashes_of(thumbnail)
    head = {
        "width_px": image.shape[1],
        "height_px": image.shape[0],
        "lesion_fraction": sum(counts[1:IGNORE]) / label.size,
        "lesion_count": lesion_count,
        "largest_lesion_fraction": largest_px / label.size,
        "class_pixels": counts[1 : classes + 1],
        "border_fraction": _border_fraction(lesions),
        "ignored_fraction": counts[IGNORE] / label.size,
        "highest": decoded.highest,
        "highest_possible": decoded.highest_possible,
        "perhaps_unturned": read_label.perhaps_unturned,
        "vanished_lesions": lesions_that_vanish(label, request.at_side_px) if request.at_side_px else 0,
        "image_pixels_digest": _pixels_digest(image),
        "label_pixels_digest": _pixels_digest(label),
        "difference_hash": hashes[0][0],
        "perceptual_hash": hashes[0][1],
        "turned_hashes": hashes[1:],
        "grey": is_grey(image),
        "image_notes": decoded.notes,
        "label_notes": read_label.notes,
    }
    prints = (thumbnail, Image.fromarray(lesions * np.uint8(255)))
    blobs = [each.resize((COLOUR_PRINT_PX, COLOUR_PRINT_PX), Image.Resampling.BOX).tobytes() for each in prints]
    if request.encode:
        blobs += [
            image_png_bytes(image),
            stored_label_bytes(label, classes),
            jpeg_bytes(thumbnail),
            jpeg_bytes(overlay(thumbnail, label)),
        ]
    return head, blobs


def hashes_of(thumbnail: Image.Image) -> list[tuple[int, int]]:
    """Difference and perceptual hash of the picture in each of `ORIENTATIONS`.

    The reductions that imagehash makes are made once and turned: turning them is turning the picture.
    """
    import imagehash  # in the child alone: the parent, often a command line, starts faster without

    grey = thumbnail.convert("L")
    rows, block = (grey.resize(size, Image.Resampling.LANCZOS) for size in ((9, 8), (32, 32)))
    hashes = []
    for turn in (None, *_TURNS):
        turned_rows, turned_block = (each if turn is None else each.transpose(turn) for each in (rows, block))
        hashes.append((int(str(imagehash.dhash(turned_rows)), 16), int(str(imagehash.phash(turned_block)), 16)))
    return hashes


def _border_fraction(lesions: BoolArray) -> float:
    return float(np.concatenate([lesions[0], lesions[-1], lesions[:, 0], lesions[:, -1]]).mean())


def _pixels_digest(pixels: ByteArray) -> str:
    """SHA-256 over shape and pixels: equal pictures in different files agree."""
    digest = sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _answer_to(document: dict[str, Any]) -> Answer:
    if "survey" in document:
        return _survey(Path(document["survey"]), document["most"])
    return answer(ReadingRequest.from_document(document))


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = None  # our own limit, set per request, is checked before anything is decoded
    serve(lambda request, _: _answer_to(request))
