"""The words by which people say in a name that a file or folder is an image or a label."""

import re
from enum import StrEnum
from pathlib import PurePosixPath

from segsmith_shared.pairs.file_kinds import PICTURE_SUFFIXES


class Part(StrEnum):
    """What a file is to a pair. `NEGATIVE` is a picture that its publisher says has no lesion, hence no label."""

    IMAGE = "image"
    LABEL = "label"
    NEGATIVE = "negative"


_IMAGE_WORDS = "images|image|imgs|img|originals|original|frames|frame|photos|photo|inputs|input"
_LABEL_WORDS = (
    "masks|mask|labels|label|segmentations|segmentation|seg|annotations|annotation|annot|anno|groundtruth"
    "|ground[ _-]truth|gt|targets|target"
)
_ROLE_FOLDER = re.compile(
    rf"(?:(?P<image>img_dir|jpegimages|pngimages|{_IMAGE_WORDS})"
    rf"|(?P<label>ann_dir|segmentationclass(?:png|aug)?|{_LABEL_WORDS}))"
    r"(?P<rest>(?:[ _-].*)?)"
)
# At the end of a folder's name only words that mean nothing else: "Kvasir-SEG" is no folder of labels.
_ROLE_FOLDER_AT_END = re.compile(r"(?P<rest>.*)[ _-](?:(?P<image>images|image|imgs)|(?P<label>masks|mask|labels))")
_LABELS_OF_SIBLING = re.compile(rf"(?P<sibling>.+?)(?:[ _-](?:{_LABEL_WORDS})|annot)")


def _affix(words: str) -> re.Pattern[str]:
    """One of the words after the stem (`X_mask`) or before it (`mask_X`, `mask12`)."""
    return re.compile(rf"(?P<stem>.+)[ _.-](?:{words})|(?:{words})(?:[ _.-]+|(?=[\d(]))(?P<tail>.+)", re.IGNORECASE)


_LABEL_AFFIX, _IMAGE_AFFIX = _affix(_LABEL_WORDS), _affix(_IMAGE_WORDS)
_NUMBERED_LABEL = re.compile(rf"(?P<stem>.+)[ _.-](?:{_LABEL_WORDS})[ _.-]?\(?(?P<number>\d{{1,3}})\)?", re.IGNORECASE)

_SEPARATORS = re.compile(r"[ _.-]+")
_WORDS = {Part.IMAGE: frozenset(_IMAGE_WORDS.split("|")), Part.LABEL: frozenset(_LABEL_WORDS.split("|"))}


def folder_role(folder: str) -> tuple[Part, str] | None:
    """A folder's part and the rest of its name: `images_C1` → (image, "c1"), `Ground Truth` → (label, "")."""
    found = _ROLE_FOLDER.fullmatch(folder.lower()) or _ROLE_FOLDER_AT_END.fullmatch(folder.lower())
    if found is None:
        return None
    return Part.IMAGE if found["image"] else Part.LABEL, found["rest"].strip(" _-")


def labelled_sibling(folder: str) -> str | None:
    """The folder beside it whose images this one labels, in lower case: `train_masks` → `train`."""
    found = _LABELS_OF_SIBLING.fullmatch(folder.lower())
    return found["sibling"] if found else None


def without_label_word(stem: str) -> str | None:
    """The stem without the word for a label (`X_mask`, `mask_X`); None where it has none."""
    return _without(_LABEL_AFFIX, stem)


def without_picture_ending(stem: str) -> str | None:
    """The image's stem where a label has its whole file name before the own ending: `X.jpg` of `X.jpg.png` → `X`.

    Also before a word for a label, `X.jpg_mask.png`; None for other names.
    """
    bare = PurePosixPath(without_label_word(stem) or stem)
    return bare.stem if bare.suffix.lower() in PICTURE_SUFFIXES else None


def without_numbered_label_word(stem: str) -> str | None:
    """What several labels of one image share: `X_mask_1`, `X_mask (2)` → `X`; None for other names."""
    found = _NUMBERED_LABEL.fullmatch(stem)
    return found["stem"] if found else None


def ends_in_label_word(stem: str) -> bool:
    """Whether a stem says at its end that it is a label: `X_mask`, `X_mask_1`; words in front may be part of a name."""
    found = _LABEL_AFFIX.fullmatch(stem)
    return without_numbered_label_word(stem) is not None or (found is not None and found["stem"] is not None)


def common_stem(stem: str) -> str:
    """What image and label share: the stem without the words for either part, `IMG_7_Mask` → `7`."""
    bare = stem
    for affix in (_LABEL_AFFIX, _IMAGE_AFFIX):
        bare = _without(affix, bare) or bare
    return bare


def without_words(stem: str, part: Part) -> str:
    """The stem without any word for its part, wherever it stands: `scan_mask_7` → `scan_7`."""
    words = _WORDS[part]
    return "_".join(token for token in _SEPARATORS.split(stem) if token.lower() not in words)


def _without(affix: re.Pattern[str], stem: str) -> str | None:
    found = affix.fullmatch(stem)
    return found and (found["stem"] or found["tail"])
