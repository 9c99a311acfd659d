"""The classes that labels tell apart: how many, what they are called, and how a label file shows each of them."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from segsmith_shared.pairs.class_marks import ClassMark
from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL
from segsmith_shared.problems import InvalidInput

LabelKind = Literal["auto", "binary", "instances", "classes", "palette"]
"""How label files without named classes are read."""

MOST_CLASSES = 8
CLASSES_FILE = "classes.json"
BACKGROUND = "background"
IGNORED = "ignore"
LESION = "lesion"
_RESERVED = (BACKGROUND, IGNORED)


class WrongClasses(InvalidInput):
    """A list of classes that contradicts itself, or is none."""

    title = "The list of classes cannot be used"


def is_background(name: str) -> bool:
    """Whether a list that has this name means no class by it."""
    return name.strip().casefold() == BACKGROUND


class ClassSpec(BaseModel):
    """One class of a label file: the grey value or the colour of its pixels.

    Two names, in any case, are no classes: `background` says what shows the background beside 0 or black, `ignore`
    what shows pixels of which nothing is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^\w[\w .+/()-]*$"),
        AfterValidator(lambda name: name.casefold() if name.casefold() in _RESERVED else name),
    ]
    value: int | None = Field(None, ge=0, le=65535)
    colour: Annotated[str, StringConstraints(to_lower=True, pattern=r"^#[0-9a-fA-F]{6}$")] | None = None


def _consistent(classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
    given = {(each.value is not None, each.colour is not None) for each in classes}
    if given not in ({(True, False)}, {(False, True)}):
        raise ValueError("give each class a value, or each class a colour")
    for what in ("name", "value", "colour"):
        used = Counter(getattr(each, what) for each in classes if getattr(each, what) is not None)
        twice = [each for each, times in used.items() if times > 1]
        if twice:
            raise ValueError(f"two classes have the {what} {twice[0]}")
    if not 1 <= len(names_of(classes)) <= MOST_CLASSES:
        raise ValueError(f"{len(names_of(classes))} classes are named, and 1 to {MOST_CLASSES} can be told apart")
    return classes


Classes = Annotated[tuple[ClassSpec, ...], Field(max_length=MOST_CLASSES + len(_RESERVED)), AfterValidator(_consistent)]
_CLASSES: TypeAdapter[tuple[ClassSpec, ...]] = TypeAdapter(Classes)


def classes_of(class_names: Sequence[str]) -> int:
    """How many classes the labels of a version hold: one (lesion) where it names none."""
    return max(1, len(class_names))


def names_of(classes: Sequence[ClassSpec]) -> list[str]:
    """The names of the classes 1 … F."""
    return [each.name for each in classes if each.name not in _RESERVED]


def marks_of(classes: Sequence[ClassSpec]) -> tuple[ClassMark, ...]:
    """The same as plain values for the processes that read files; background has number 0, unknown 255."""
    numbers = {BACKGROUND: 0, IGNORED: IGNORE} | {
        name: number for number, name in enumerate(names_of(classes), start=1)
    }
    return tuple(ClassMark(each.name, numbers[each.name], each.value, each.colour) for each in classes)


def checked_classes(documents: Sequence[dict[str, Any]]) -> tuple[ClassSpec, ...]:
    """Classes of plain JSON values. Raises WrongClasses."""
    try:
        return _CLASSES.validate_python(documents)
    except ValidationError as error:
        first = error.errors()[0]
        what = first["msg"].removeprefix("Value error, ")
        where = ".".join(str(part) for part in first["loc"])
        raise WrongClasses(
            f"{where}: {what}." if where else f"{what[:1].upper()}{what[1:]}.",
            hint="E.g. --classes polyp=1,instrument=2 or --classes 'polyp=#ff0000,instrument=#00ff00'",
        ) from error


def class_list(class_names: Sequence[str], *, ignored: bool = False) -> str:
    """What `classes.json` says beside labels as they are stored: the value of each class (255 where it is alone).

    `ignored`: labels of one class show unknown pixels as 128. Beside several classes 255 means that by itself.
    """
    values = [255] if len(class_names) == 1 else range(1, len(class_names) + 1)
    classes = [{"name": name, "value": value} for name, value in zip(class_names, values, strict=True)]
    if ignored and len(class_names) == 1:
        classes.append({"name": IGNORED, "value": IGNORE_LEVEL})
    return json.dumps({"classes": classes}, ensure_ascii=False, indent=1) + "\n"


def read_class_list(text: str) -> tuple[ClassSpec, ...] | None:
    """The classes of a `classes.json`; None where it is some other tool's.

    Ours lists classes of which any has a name and a value or a colour. Raises WrongClasses, also where it is not JSON:
    what it would have told apart must not be read as one class for a missing brace.
    """
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise WrongClasses(
            f"{CLASSES_FILE} is not JSON in UTF-8: {error}.",
            hint="Mend it, or take it out of the folder and give the classes with --classes.",
        ) from error
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, list) or not any(_is_ours(each) for each in classes):
        return None
    return checked_classes(classes)


def _is_ours(entry: object) -> bool:
    return isinstance(entry, dict) and "name" in entry and ("value" in entry or "colour" in entry)
