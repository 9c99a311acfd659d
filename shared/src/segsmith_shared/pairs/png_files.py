"""Pixels become the files that a version stores: lossless PNGs without metadata, and JPEGs to look at."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL, BoolArray, ByteArray

THUMBNAIL_PX = 256


def png_bytes(pixels: ByteArray) -> bytes:
    """uint8 (H, W) or (H, W, 3) as PNG, lossless and without any metadata.

    Written here because encoding is most of an import's time: rows as differences to the row above and run lengths
    take 9 ms and 427 kB for a Kvasir picture; Pillow's fastest setting takes 23 ms and 446 kB (measured).
    """
    height_px, width_px = pixels.shape[:2]
    values = pixels.reshape(height_px, -1)
    rows = np.empty((height_px, 1 + values.shape[1]), np.uint8)
    rows[:, 0] = 2  # filter type "up" (PNG specification, 9.2)
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    colour_type = 2 if pixels.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packer.compress(rows.data) + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def is_grey(image: ByteArray) -> bool:
    """Whether all three channels of uint8 (H, W, 3) are equal everywhere."""
    some = image[::16, ::16]  # of most pictures a look at a few pixels is enough
    return bool((some == some[..., :1]).all() and (image == image[..., :1]).all())


def image_png_bytes(image: ByteArray) -> bytes:
    """An image uint8 (H, W, 3) as PNG: one channel where it is grey, three else."""
    return png_bytes(np.ascontiguousarray(image[..., 0]) if is_grey(image) else image)


def label_png_bytes(label: BoolArray) -> bytes:
    """A label of one class or a region, bool (H, W), as 8-bit grey PNG of 0 and 255."""
    return png_bytes(label * np.uint8(255))


def class_map_png_bytes(label: ByteArray) -> bytes:
    """A label of several classes, uint8 (H, W) of 0 … F, as 8-bit grey PNG of the same values."""
    return png_bytes(label)


def stored_label_bytes(label: ByteArray, classes: int) -> bytes:
    """A class map uint8 (H, W) as a version with so many classes stores it.

    One class: 0, 255, and 128 where nothing is known. Several: 0 … F, and 255 where nothing is known.
    """
    if classes > 1:
        return class_map_png_bytes(label)
    values = np.array([0, 255], np.uint8).repeat([1, 255])
    values[IGNORE] = IGNORE_LEVEL
    return png_bytes(values[label])


def jpeg_bytes(picture: Image.Image) -> bytes:
    """An RGB picture as JPEG for looking at."""
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def thumbnail_of(image: ByteArray) -> Image.Image:
    """uint8 (H, W, 3) reduced, never enlarged, to a longest side of 256 px."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return picture
