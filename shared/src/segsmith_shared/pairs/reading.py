"""Pairs read many at a time by limited child processes: a bad file costs one finding, never the service.

`PairReaders` is the parent's side; run as a module, this file is the child.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from segsmith_shared.pairs import intake
from segsmith_shared.pairs.class_marks import ClassMark
from segsmith_shared.pairs.contact_sheet import overlay
from segsmith_shared.pairs.lesions import count_lesions
from segsmith_shared.pairs.limited import ChildDied, LimitedProcess, ProcessLimits, serve
from segsmith_shared.pairs.near_duplicates import COLOUR_PRINT_PX, Look
from segsmith_shared.pairs.pair import ByteArray

_TURNS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


@dataclass(frozen=True)
class ReadingRequest:
    """What one child is asked: an image and its labels (united; none: a negative), and how to read them.

    `encode` also returns what an import stores.
    """

    image_path: str
    label_paths: tuple[str, ...]
    procedure: str = "corrected"
    maximum_pixels: int = 64_000_000
    encode: bool = True
    classes: tuple[ClassMark, ...] = ()

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "ReadingRequest":
        """The request that was sent as JSON."""
        classes = tuple(ClassMark(**mark) for mark in document["classes"])
        return cls(**document | {"classes": classes, "label_paths": tuple(document["label_paths"])})


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

    `class_pixels` counts the pixels of the classes 1 … F.
    """

    width_px: int
    height_px: int
    lesion_fraction: float
    lesion_count: int
    largest_lesion_fraction: float
    class_pixels: list[int]
    image_pixels_digest: str
    label_pixels_digest: str
    difference_hash: int
    perceptual_hash: int
    turned_hashes: list[tuple[int, int]]
    grey: bool
    colour_print: bytes = field(repr=False)
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
    """Why a pair could not be read: `part` is image, label or pair, `code` an `intake.BadPicture`'s or a death's."""

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
        waiting: deque[Future[ReadingOutcome]] = deque()
        for request in requests:
            waiting.append(self._threads.submit(self._read_one, request))
            if len(waiting) >= 2 * self._workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read_one(self, request: ReadingRequest) -> ReadingOutcome:
        child = self._idle.get()
        try:
            return _outcome(*child.ask(asdict(request)))
        except ChildDied as death:
            if death.signal_number is None:
                raise  # it could not even start, or has a fault of ours: no file's fault
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
    colour_print, *encoded = blobs
    return ReadPair(**head, colour_print=colour_print, encoded=EncodedPair(*encoded) if encoded else None)


def _epitaph(death: ChildDied) -> ReadingFailure:
    if death.ran_out_of_time:
        return ReadingFailure("pair", "took-too-long", "decoding did not end in time", "export both files again")
    return ReadingFailure(
        "pair", "reader-died", f"the reading process ended with signal {death.signal_number}", "export both files again"
    )


def answer(request: ReadingRequest) -> tuple[dict[str, Any], list[bytes]]:
    """The child's work: read both files, describe them, encode them where asked."""
    part = "image"
    try:
        decoded = intake.decode_image(Path(request.image_path), request.maximum_pixels)
        part = "label"
        paths = [Path(path) for path in request.label_paths]
        label = intake.decode_labels(paths, request.maximum_pixels, request.procedure, decoded, request.classes)
        return _described(request, decoded, label)
    except intake.BadPicture as problem:
        return asdict(ReadingFailure(part, problem.code, problem.detail, problem.hint)), []
    except MemoryError:
        detail = "decoding needs more memory than a reader may have"
        return asdict(ReadingFailure(part, "out-of-memory", detail, "reduce the picture")), []
    except Exception as fault:  # noqa: BLE001 - of whatever kind: one file's fault must not end the job
        detail = f"reading it failed with {type(fault).__name__}: {fault}"[:500]
        return asdict(ReadingFailure(part, "reader-failed", detail, "export it again as 8-bit PNG")), []


def _described(
    request: ReadingRequest, decoded: intake.DecodedImage, read_label: intake.DecodedLabel
) -> tuple[dict[str, Any], list[bytes]]:
    image, label = decoded.image, read_label.label
    thumbnail = intake.thumbnail_of(image)
    classes = max((mark.number for mark in request.classes), default=1)
    lesion_count, largest_px = count_lesions(label)
    hashes = hashes_of(thumbnail)
    head = {
        "width_px": image.shape[1],
        "height_px": image.shape[0],
        "lesion_fraction": float((label > 0).mean()),
        "lesion_count": lesion_count,
        "largest_lesion_fraction": largest_px / label.size,
        "class_pixels": np.bincount(label.ravel(), minlength=classes + 1)[1:].tolist(),
        "image_pixels_digest": _pixels_digest(image),
        "label_pixels_digest": _pixels_digest(label),
        "difference_hash": hashes[0][0],
        "perceptual_hash": hashes[0][1],
        "turned_hashes": hashes[1:],
        "grey": intake.is_grey(image),
        "image_notes": decoded.notes,
        "label_notes": read_label.notes,
    }
    blobs = [thumbnail.resize((COLOUR_PRINT_PX, COLOUR_PRINT_PX), Image.Resampling.BOX).tobytes()]
    if request.encode:
        blobs += [
            intake.image_png_bytes(image),
            intake.stored_label_bytes(label, classes),
            intake.jpeg_bytes(thumbnail),
            intake.jpeg_bytes(overlay(thumbnail, label)),
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


def _pixels_digest(pixels: ByteArray) -> str:
    """SHA-256 over shape and pixels: equal pictures in different files agree."""
    digest = sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = None  # our own limit, set per request, is checked before anything is decoded
    serve(lambda request, _: answer(ReadingRequest.from_document(request)))
