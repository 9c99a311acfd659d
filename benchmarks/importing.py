"""How fast pairs are imported, against what everybody writes first: Pillow, one file after the other, in one process.

The baseline only decodes image and label. The import also reads untrusted bytes in limited children, binarises, hashes,
counts lesions, finds near-duplicates, re-encodes both losslessly, and makes thumbnail and overlay.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segsmith_shared.pairs.checking import check_folder
from segsmith_shared.pairs.drawn import draw_pair

REAL_DATA = Path(os.environ.get("SEGSMITH_REAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "kvasir-seg"
DRAWN_PAIRS, DRAWN_SIDE_PX = 100, 256


def measure() -> dict[str, Any]:
    """Seconds and pairs per second of the baseline, of a check, and of an import up to the object store."""
    if REAL_DATA.is_dir():
        return _measured(REAL_DATA, "Kvasir-SEG")
    with tempfile.TemporaryDirectory() as name:
        _draw(Path(name))
        return _measured(Path(name), f"drawn, {DRAWN_SIDE_PX} px")


def _measured(root: Path, data: str) -> dict[str, Any]:
    plain_seconds, pairs = _plain(root)
    stored_bytes = 0

    def count(pair: Any) -> None:
        nonlocal stored_bytes
        stored_bytes += len(pair.encoded.image_png) + len(pair.encoded.label_png)

    check_seconds, checked = _timed(lambda: check_folder(root))
    import_seconds, imported = _timed(lambda: check_folder(root, on_pair=count))
    assert checked.accepted == imported.accepted == pairs
    return {
        "data": data,
        "pairs": pairs,
        "processes": len(os.sched_getaffinity(0)),
        "baseline": "Pillow decodes each image and label, one process, nothing else",
        "baseline_seconds": plain_seconds,
        "check_seconds": check_seconds,
        "import_seconds": import_seconds,
        "import_pairs_per_second": pairs / import_seconds,
        "check_to_baseline": check_seconds / plain_seconds,
        "import_to_baseline": import_seconds / plain_seconds,
        "stored_megabytes": stored_bytes / 1e6,
    }


def _plain(root: Path) -> tuple[float, int]:
    began = time.perf_counter()
    images = sorted((root / "images").iterdir())
    labels = {path.stem: path for path in (root / "masks").iterdir()}
    for path in images:
        np.asarray(Image.open(path).convert("RGB"))
        np.asarray(Image.open(labels[path.stem]).convert("L"))
    return time.perf_counter() - began, len(images)


def _timed(work: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _draw(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for index in range(DRAWN_PAIRS):
        image, label = draw_pair(0, index, DRAWN_SIDE_PX)
        Image.fromarray(image).save(root / "images" / f"{index}.jpg", quality=90)
        Image.fromarray(label).save(root / "masks" / f"{index}.png")


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name}: {value}")
