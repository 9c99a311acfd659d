"""What the paper reports, to stand beside our figures, with the reason why they rarely compare (science §8)."""

from typing import NamedTuple

PROTOCOL_NOTE = (
    "Published figures (Saragih, Hibi, Tyrrell, IJCARS 19, 2024) are against the 348 training images at 256 px, with "
    "copied backgrounds and FID-Inception features: comparable only with the same protocol."
)


class PublishedFigure(NamedTuple):
    """One published number: its metric, the set it is of, and its value."""

    metric: str
    set: str
    value: float


def _numbered(metric: str, name: str, *values: float) -> list[PublishedFigure]:
    return [PublishedFigure(metric, f"{name}-{number}", value) for number, value in enumerate(values, start=1)]


def _dice_and_iou(test: str, name: str, dice: float, iou: float) -> list[PublishedFigure]:
    return [PublishedFigure(f"soft Dice, {test}", name, dice), PublishedFigure(f"IoU, {test}", name, iou)]


PUBLISHED: tuple[PublishedFigure, ...] = (
    *_numbered("FID", "GAN", 118.73, 119.45, 116.92),
    *_numbered("FID", "Diff", 36.01, 37.90, 37.78),
    *_numbered("FID", "Styled-Diff", 66.17, 65.48, 66.32),
    *_numbered("FID", "Full-Diff", 40.59, 40.77, 40.27),
    *_numbered("FID", "Full-Styled-Diff", 60.15, 59.98, 59.95),
    PublishedFigure("MS-SSIM", "Real", 0.1813),
    PublishedFigure("MS-SSIM", "GAN", 0.1986),
    PublishedFigure("MS-SSIM", "Diff", 0.2081),
    PublishedFigure("MS-SSIM", "Styled-Diff", 0.2304),
    PublishedFigure("MS-SSIM", "Full-Diff", 0.2030),
    PublishedFigure("MS-SSIM", "Full-Styled-Diff", 0.1971),
    *_dice_and_iou("HyperKvasir", "Real", 0.8680, 0.8085),
    *_dice_and_iou("HyperKvasir", "GAN-2", 0.7062, 0.6239),
    *_dice_and_iou("HyperKvasir", "Diff-1", 0.6566, 0.5948),
    *_dice_and_iou("HyperKvasir", "Styled-Diff-1", 0.7444, 0.6840),
    *_dice_and_iou("HyperKvasir", "Styled-Diff-2", 0.7728, 0.7027),
    *_dice_and_iou("HyperKvasir", "Styled-Diff-3", 0.8042, 0.7396),
    *_dice_and_iou("CVC-ClinicDB", "Real", 0.7341, 0.6604),
    *_dice_and_iou("CVC-ClinicDB", "Styled-Diff-3", 0.6749, 0.6124),
    *_dice_and_iou("PolypGen", "Real", 0.6185, 0.6284),
    *_dice_and_iou("PolypGen", "Styled-Diff-3", 0.5753, 0.5728),
    PublishedFigure("IoU, HyperKvasir, 16 real", "Real", 0.5263),
    *(
        PublishedFigure("IoU, HyperKvasir, 16 real", f"20-Styled, r = {r}", value)
        for r, value in ((1, 0.5930), (2, 0.5968), (3, 0.6072))
    ),
)
