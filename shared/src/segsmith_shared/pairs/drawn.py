"""Drawn pairs whose lesion can be read back from its colour: the demo's data, and a ruler for whether labels fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segsmith_shared.randomness import numpy_generator_for

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]

# Mucosa is orange (green above blue), lesions are magenta (blue above green), by equal shares of the brightness:
# light, shadow and white highlights change both sides alike, so the sign of blue − green tells them apart.
_OPPONENCY = 0.16


@dataclass(frozen=True)
class _Scene:
    """Fields (H, W) on the fine grid: coordinates in −1..1, brightness, red share, opponency.

    `coverage` (kinds, H, W) is that by lesions of each kind, 0..1.
    """

    x: FloatArray
    y: FloatArray
    brightness: FloatArray
    red: FloatArray
    opponency: FloatArray
    coverage: FloatArray


@dataclass(frozen=True)
class _Lesion:
    centre_x: float
    centre_y: float
    radius: float
    elongation: float
    angle: float
    waviness: NDArray[np.float64]
    brightness: float
    redness: float
    kind: int = 0


DRAWN_CLASSES = ("polyp", "scar")
"""The two kinds of `draw_class_pair`: round and magenta, long and pale."""


def draw_pair(seed: int, index: int, side_px: int) -> tuple[ByteArray, BoolArray]:
    """One drawn pair: image uint8 (H, W, 3) of mucosa with one or two lesions, and its label bool (H, W).

    Drawn at four times the side and reduced, so that edges are antialiased; the label is where coverage is one half.
    """
    rng = numpy_generator_for(seed, "drawn-pair", index)
    lesions = [_random_lesion(rng) for _ in range(2 if rng.random() < 0.1 else 1)]
    image, coverage = _drawn(rng, lesions, 1, side_px)
    label: BoolArray = coverage[0] >= 0.5
    return image, label


def draw_class_pair(seed: int, index: int, side_px: int) -> tuple[ByteArray, ByteArray]:
    """One drawn pair with a polyp, a scar or both: image uint8 (H, W, 3) and class map uint8 (H, W) of 0, 1 and 2."""
    rng = numpy_generator_for(seed, "drawn-class-pair", index)
    chance = rng.random()
    polyps = [_random_lesion(rng)] if chance < 0.7 else []
    scars = [_random_scar(rng)] if chance > 0.4 else []
    image, coverage = _drawn(rng, polyps + scars, len(DRAWN_CLASSES), side_px)
    label = np.where(coverage.sum(axis=0) >= 0.5, coverage.argmax(axis=0) + 1, 0).astype(np.uint8)
    return image, label


def recover_lesion(image: ByteArray) -> BoolArray:
    """The lesion of a drawn image uint8 (H, W, 3) by its colour alone: bool (H, W), true where blue exceeds green.

    The image is smoothed lightly first, so that a generated picture's grain does not count as lesion.
    """
    smooth = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.4)), dtype=np.float32)
    lesion: BoolArray = smooth[..., 2] > smooth[..., 1]
    return lesion


def recover_classes(image: ByteArray) -> ByteArray:
    """The class map uint8 (H, W) of a picture of `draw_class_pair`, by its colour alone.

    Of what `recover_lesion` finds, a scar is what red does not stand out from: by under a third of the brightness.
    """
    levels = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.4)), dtype=np.float32)
    pale = levels[..., 0] - levels[..., 2] < levels.mean(axis=-1) / 3
    return np.asarray(recover_lesion(image) * np.where(pale, 2, 1), dtype=np.uint8)


def _drawn(
    rng: np.random.Generator, lesions: Sequence[_Lesion], kinds: int, side_px: int
) -> tuple[ByteArray, FloatArray]:
    """Image uint8 (H, W, 3) with these lesions, and the coverage (kinds, H, W) in 0..1 by lesions of each kind."""
    fine_px = 4 * side_px
    y, x = np.mgrid[0:fine_px, 0:fine_px].astype(np.float32) / fine_px * 2 - 1
    scene = _mucosa(rng, x, y, kinds)
    for lesion in lesions:
        scene = _add_lesion(rng, lesion, scene)
    light, aperture = _light_and_aperture(rng, x, y)
    covered = scene.coverage * aperture
    image = _add_highlights(rng, _compose(scene, light) * aperture[..., None], covered.max(axis=0))
    fine = Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
    coverage = np.stack([_box_reduce(each, side_px) for each in covered])
    return np.asarray(fine.resize((side_px, side_px), Image.Resampling.BOX)), coverage


def _random_scar(rng: np.random.Generator) -> _Lesion:
    return replace(
        _random_lesion(rng),
        radius=float(np.exp(rng.uniform(np.log(0.22), np.log(0.36)))),
        elongation=rng.uniform(3.0, 5.0),
        brightness=rng.uniform(1.1, 1.35),
        redness=rng.uniform(-0.62, -0.5),
        kind=1,
    )


def _random_lesion(rng: np.random.Generator) -> _Lesion:
    return _Lesion(
        centre_x=rng.uniform(-0.5, 0.5),
        centre_y=rng.uniform(-0.5, 0.5),
        radius=float(np.exp(rng.uniform(np.log(0.2), np.log(0.5)))),
        elongation=rng.uniform(1.0, 1.8),
        angle=rng.uniform(0, np.pi),
        waviness=rng.normal(0, [0.07, 0.05, 0.03], size=(2, 3)),
        brightness=rng.uniform(0.75, 1.15),
        redness=rng.uniform(-0.04, 0.08),
    )


def _noise(rng: np.random.Generator, cells: int, side_px: int) -> FloatArray:
    """Smooth noise (side_px, side_px) of about unit deviation, `cells` bumps across."""
    coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((side_px, side_px), Image.Resampling.BICUBIC))


def _mucosa(rng: np.random.Generator, x: FloatArray, y: FloatArray, kinds: int) -> _Scene:
    """A warm gradient with folds and texture, and no lesion yet."""
    side_px = x.shape[0]
    direction, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.16)
    across = x * np.cos(direction) + y * np.sin(direction) + bend * _noise(rng, 4, side_px)
    folds = np.abs(np.sin(across * rng.uniform(2.0, 4.5) + rng.uniform(0, np.pi))) ** 0.35
    texture = 0.02 * _noise(rng, 24, side_px) + 0.025 * _noise(rng, 6, side_px)
    return _Scene(
        x=x,
        y=y,
        brightness=(rng.uniform(0.5, 0.66) * (0.72 + 0.28 * folds) + texture).astype(np.float32),
        red=rng.uniform(1.36, 1.52) + 0.03 * _noise(rng, 5, side_px),
        opponency=-_OPPONENCY * rng.uniform(0.85, 1.15) + 0.012 * _noise(rng, 8, side_px),
        coverage=np.zeros((kinds, *x.shape), np.float32),
    )


def _add_lesion(rng: np.random.Generator, lesion: _Lesion, scene: _Scene) -> _Scene:
    side_px = scene.x.shape[0]
    height, inside = _bump(lesion, scene.x, scene.y)
    shade = lesion.brightness * (0.88 + 0.16 * height - 0.12 * _slope(height)) + 0.02 * _noise(rng, 14, side_px)
    red: FloatArray = (scene.red + lesion.redness + 0.02 * _noise(rng, 8, side_px)).astype(np.float32)
    opponency = _OPPONENCY * rng.uniform(0.85, 1.15) + 0.012 * _noise(rng, 8, side_px)
    coverage = scene.coverage.copy()
    coverage[lesion.kind] = np.maximum(coverage[lesion.kind], inside)
    for kind in range(len(coverage)):
        if kind != lesion.kind:  # the last one drawn lies on top
            coverage[kind] *= 1 - inside
    return replace(
        scene,
        brightness=scene.brightness * (1 + inside * (shade - 1)),
        red=scene.red + inside * (red - scene.red),
        opponency=scene.opponency + inside * (opponency - scene.opponency),
        coverage=coverage,
    )


def _bump(lesion: _Lesion, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Height of the lesion's dome in 0..1 and its antialiased inside, both (H, W)."""
    dx, dy = x - lesion.centre_x, y - lesion.centre_y
    along = (dx * np.cos(lesion.angle) + dy * np.sin(lesion.angle)) / np.sqrt(lesion.elongation)
    aside = (dy * np.cos(lesion.angle) - dx * np.sin(lesion.angle)) * np.sqrt(lesion.elongation)
    turn = np.arctan2(aside, along)
    harmonics = zip((2, 3, 5), *lesion.waviness, strict=True)
    waves = sum(a * np.cos(k * turn) + b * np.sin(k * turn) for k, a, b in harmonics)
    distance = np.hypot(along, aside) / (lesion.radius * (1 + waves))
    height = np.sqrt(np.clip(1 - distance**2, 0, 1))
    inside = np.clip((1 - distance) * lesion.radius * x.shape[0] / 8 + 0.5, 0, 1)
    return height.astype(np.float32), inside.astype(np.float32)


def _slope(height: FloatArray) -> FloatArray:
    """How much the dome turns away from a light at the upper left, in −1..1."""
    down, right = np.gradient(height * height.shape[0] / 12)
    slope: FloatArray = np.clip(-(down + right), -1, 1).astype(np.float32)
    return slope


def _light_and_aperture(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vignette (H, W) around an off-centre lamp, and the endoscope's octagonal aperture (H, W) in 0..1."""
    lamp_x, lamp_y = rng.uniform(-0.3, 0.3, size=2)
    light = 1.12 - rng.uniform(0.22, 0.4) * ((x - lamp_x) ** 2 + (y - lamp_y) ** 2)
    corner = rng.uniform(1.45, 1.6)
    aperture = np.clip((corner - np.abs(x) - np.abs(y)) * x.shape[0] / 4, 0, 1)
    return np.clip(light, 0.25, 1.2).astype(np.float32), aperture.astype(np.float32)


def _compose(scene: _Scene, light: FloatArray) -> FloatArray:
    """RGB (H, W, 3) with the scene's brightness and red share; blue − green is the opponency times the brightness."""
    rest = (3 - scene.red) / 2
    rgb = np.stack([scene.red, rest - scene.opponency / 2, rest + scene.opponency / 2], axis=-1)
    lit: FloatArray = rgb * (scene.brightness * light)[..., None]
    return lit


def _add_highlights(rng: np.random.Generator, image: FloatArray, coverage: FloatArray) -> FloatArray:
    """Small white reflections, the first one on a lesion: white changes brightness, never blue − green."""
    side_px = image.shape[0]
    spots = np.zeros((side_px, side_px), dtype=np.float32)
    for spot in range(int(rng.integers(2, 7))):
        row, column = _spot_centre(rng, coverage if spot == 0 else np.ones_like(coverage))
        radius = max(1, int(side_px * rng.uniform(0.006, 0.016)))
        place = np.s_[max(0, row - radius) : row + radius, max(0, column - radius) : column + 2 * radius]
        spots[place] = rng.uniform(0.3, 0.6)
    blurred = Image.fromarray((spots * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(side_px / 140))
    soft = np.asarray(blurred, dtype=np.float32) / 255
    headroom = np.clip(1 - image.max(axis=-1, keepdims=True), 0, 1)
    lit: FloatArray = image + np.minimum(soft[..., None], headroom)
    return lit


def _spot_centre(rng: np.random.Generator, allowed: FloatArray) -> tuple[int, int]:
    """A place in the middle of the picture where allowed, else anywhere allowed, else the very middle."""
    side_px = allowed.shape[0]
    rows, columns = np.nonzero(allowed > 0.9)
    if not len(rows):
        return side_px // 2, side_px // 2
    middle = (abs(rows - side_px / 2) < 0.3 * side_px) & (abs(columns - side_px / 2) < 0.3 * side_px)
    chosen = int(rng.choice(np.flatnonzero(middle) if middle.any() else len(rows)))
    return int(rows[chosen]), int(columns[chosen])


def _box_reduce(values: FloatArray, side_px: int) -> FloatArray:
    step = values.shape[0] // side_px
    reduced: FloatArray = values.reshape(side_px, step, side_px, step).mean(axis=(1, 3))
    return reduced
