"""Augmentation of image and label together, a function of (seed, position), so that a resumed run repeats."""

import warnings

import albumentations
import cv2
import numpy as np
from numpy.typing import NDArray

from segsmith_shared.randomness import seed_for

Image = NDArray[np.uint8]
Label = NDArray[np.uint8]


class Augmentation:
    """The paper's: flip, shift and scale without rotation, and one of three changes of contrast (science §7).

    Its fourth, a pyramid grid of 256 cells at 256 px, changes nothing and is left out.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of an argument that it does not know
            self._chain = albumentations.Compose(
                [
                    albumentations.HorizontalFlip(p=0.5),
                    albumentations.Affine(
                        scale=(0.5, 1.5),
                        translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
                        rotate=0,
                        keep_ratio=True,
                        border_mode=cv2.BORDER_CONSTANT,
                        interpolation=cv2.INTER_LINEAR,
                        mask_interpolation=cv2.INTER_NEAREST,
                        p=1,
                    ),
                    albumentations.OneOf(
                        [
                            albumentations.CLAHE(p=1),
                            albumentations.RandomBrightnessContrast(p=1),
                            albumentations.RandomGamma(p=1),
                        ],
                        p=0.9,
                    ),
                ]
            )

    def __call__(self, image: Image, label: Label, seed: int, position: int) -> tuple[Image, Label]:
        """uint8 (H, W, 3) and a class map uint8 (H, W) → the same, as drawn for this position of this seed."""
        self._chain.set_random_seed(seed_for(seed, "segmentation-augment", position))
        augmented = self._chain(image=image, mask=label)
        return augmented["image"], augmented["mask"]
