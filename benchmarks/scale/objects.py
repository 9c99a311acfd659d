"""What a sampled pair's objects weigh at 256 px, and how fast the store takes and lists small objects."""

import time
from typing import Any

import numpy as np

from benchmarks.scale.sizes import Size
from segsmith_shared.pairs.contact_sheet import overlay
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.pair import ByteArray
from segsmith_shared.pairs.png_files import image_png_bytes, jpeg_bytes, label_png_bytes, thumbnail_of
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore

SIDE_PX = 256
PAIRS = 8


def measure(environment: dict[str, str], size: Size) -> dict[str, Any]:
    """Bytes by kind of object (mean of drawn pairs), puts per second and listed objects per second."""
    store = ObjectStore.from_settings(
        Settings.model_validate({key.lower(): value for key, value in environment.items()})
    )
    contents = [number.to_bytes(8, "big") * 64 for number in range(size.stored_objects)]
    began = time.perf_counter()
    store.put_many(contents)
    put_seconds = time.perf_counter() - began
    began = time.perf_counter()
    listed = sum(1 for _ in store.each())
    return {
        "bytes": _bytes_by_kind(),
        "puts_per_second": size.stored_objects / put_seconds,
        "listed_per_second": listed / (time.perf_counter() - began),
    }


def _bytes_by_kind() -> dict[str, float]:
    kinds: dict[str, list[int]] = {}
    for number in range(PAIRS):
        image, label = draw_pair(0, number, SIDE_PX)
        noisy = _with_grain(image, number)
        made = {
            "image": image_png_bytes(noisy),
            "label": label_png_bytes(label),
            "thumbnail": jpeg_bytes(thumbnail_of(noisy)),
            "overlay": jpeg_bytes(overlay(noisy, label)),
        }
        for kind, content in made.items():
            kinds.setdefault(kind, []).append(len(content))
    return {kind: float(np.mean(sizes)) for kind, sizes in kinds.items()}


def _with_grain(image: ByteArray, number: int) -> ByteArray:
    """Drawn pictures are smooth and compress too well: a camera's grain of four grey levels."""
    grain = np.random.default_rng(number).normal(0, 4, image.shape)
    return np.asarray(np.clip(image + grain, 0, 255), np.uint8)
