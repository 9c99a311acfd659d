"""Which files are read as pictures, and what to do with those that hold images or labels in a form that is not read.

Imports no picture library, so that the command line stays fast.
"""

from dataclasses import dataclass
from pathlib import Path

PICTURE_SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip
_PICTURE_MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF87a", b"GIF89a",
    b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n",
)  # fmt: skip
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the text begins that stands in for a file in a Git repository until Git LFS fetches it."""
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class UnreadKind:
    """Files that may hold images or labels, but not as pictures: what they are, and what to do with them."""

    what: str
    what_to_do: str


_VOLUME = UnreadKind("volumes", "export their slices as PNG, image and label under the same name")
_ARRAY = UnreadKind("arrays", "save each array as a PNG")
_DICOM = UnreadKind("DICOM files", "export them as PNG")
_ARCHIVE = UnreadKind("archives", "unpack them where they lie")
_PICTURE = UnreadKind("pictures of another format", "convert them to PNG")
_VECTOR = UnreadKind("drawings", "export them as PNG")
_VIDEO = UnreadKind("videos", "export their frames as PNG")
_COCO = UnreadKind("COCO annotations", "draw the polygons of each image into a PNG label (pycocotools: annToMask)")
_LABELME = UnreadKind("labelme annotations", "export PNG labels with labelme2voc or labelme_export_json")

_KIND_BY_SUFFIX = {
    **dict.fromkeys((".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mgz", ".img", ".hdr"), _VOLUME),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), _DICOM),
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".pth", ".tfrecord", ".tfrecords",
                     ".parquet", ".zarr"), _ARRAY),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".tar.gz", ".bz2", ".tar.bz2", ".xz", ".tar.xz", ".7z", ".rar"),
                    _ARCHIVE),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jxl", ".avif", ".heic", ".heif", ".psd", ".tga", ".exr", ".svs",
                     ".ndpi", ".pfm", ".raw", ".xcf", ".ico", ".pcx"), _PICTURE),
    **dict.fromkeys((".svg", ".eps", ".ai"), _VECTOR),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), _VIDEO),
}  # fmt: skip
# Where in a file of an unknown ending, or of none as scanners export DICOM, its format says its name.
_KIND_BY_MAGIC = (
    (128, b"DICM", _DICOM), (0, b"\x93NUMPY", _ARRAY), (0, b"\x89HDF\r\n", _ARRAY), (344, b"n+1\0", _VOLUME),
)  # fmt: skip


def suffix_of(name: str) -> str:
    """The ending in lower case, `.nii.gz` and `.tar.xz` whole; empty where there is none."""
    parts = name.lower().lstrip(".").rsplit(".", 2)
    if len(parts) == 3 and f".{parts[1]}.{parts[2]}" in _KIND_BY_SUFFIX:
        return f".{parts[1]}.{parts[2]}"
    return f".{parts[-1]}" if len(parts) > 1 else ""


def unread_kind(location: Path, name: str) -> UnreadKind | None:
    """What a file that is not read as a picture may hold of a dataset; None for text, tables and the like."""
    suffix = suffix_of(name)
    if suffix == ".json":
        return _annotations(location)
    return _KIND_BY_SUFFIX.get(suffix) or _kind_by_magic(location)


def has_telling_ending(name: str) -> bool:
    """Whether the ending alone says that a file is of a kind that is not read."""
    return suffix_of(name) in _KIND_BY_SUFFIX or suffix_of(name) == ".json"


def _kind_by_magic(location: Path) -> UnreadKind | None:
    head = _head(location, 512)
    return next((kind for start, magic, kind in _KIND_BY_MAGIC if head.startswith(magic, start)), None)


def holds_picture(location: Path) -> bool:
    """Whether a file begins like a picture, for names without a telling ending. False where it cannot be read."""
    head = _head(location, 16)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_bmp = head[:2] == b"BM" and head[6:10] == bytes(4)  # two letters alone also begin a text
    return head.startswith(_PICTURE_MAGIC) or is_webp or is_bmp


def _annotations(location: Path) -> UnreadKind | None:
    """JSON of the two tools whose polygons people take for labels, by the keys that its beginning or end shows."""
    shown = _head(location, _HEAD_BYTES) + _tail(location, _HEAD_BYTES)
    if b'"shapes"' in shown or b'"imagePath"' in shown:
        return _LABELME
    coco = sum(key in shown for key in (b'"images"', b'"annotations"', b'"categories"', b'"segmentation"'))
    return _COCO if coco >= 2 else None


def _head(location: Path, size_bytes: int) -> bytes:
    try:
        with location.open("rb") as stream:
            return stream.read(size_bytes)
    except OSError:
        return b""


def _tail(location: Path, size_bytes: int) -> bytes:
    try:
        with location.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - size_bytes))
            return stream.read(size_bytes)
    except OSError:
        return b""
