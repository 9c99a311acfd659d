"""Why a file cannot be half of a pair: one problem per way to fail, each with what to do about it."""

from typing import ClassVar

from segsmith_shared.problems import Problem


class BadPicture(Problem):
    """A file that cannot be half of a pair. The subclass is the reason, its `advice` what to do about the file.

    `advice` of the constructor says more than the class can, e.g. the command that resolves this very case.
    """

    status = 422
    title = "A picture cannot be used"
    advice: ClassVar[str] = ""

    def __init__(self, detail: str, advice: str = "") -> None:
        super().__init__(detail, hint=advice or self.advice)


class UnreadableFile(BadPicture):
    """The bytes begin like a picture, but do not decode."""

    title = "A picture cannot be decoded"
    advice = "export it again from its source; the copy may be cut off"


class EmptyFile(BadPicture):
    """A file of no bytes."""

    title = "A file is empty"
    advice = "copy it again from its source"


class NoPicture(BadPicture):
    """The bytes are of no accepted picture format, whatever the file's name says."""

    title = "A file is not a picture"
    advice = "PNG, JPEG, BMP, TIFF, WebP, GIF and PPM are read"


class LfsPointer(NoPicture):
    """Text that stands in for the picture in a Git repository until Git LFS fetches it."""

    title = "A file was not fetched"
    advice = "run git lfs pull in its repository"


class TooManyPixels(BadPicture):
    """The header declares more pixels than the limit; nothing was decoded."""

    title = "A picture has too many pixels"
    advice = "reduce the picture, or raise maximum_pixels"


class TooManyFrames(BadPicture):
    """An animation or a document of several pages."""

    title = "A picture has several frames"
    advice = "export each frame as a file of its own"


class UnsupportedPixels(BadPicture):
    """Pixels without a fixed range (floating point, 32-bit integers) or in a colour space that does not convert."""

    title = "The kind of pixels is not supported"
    advice = "export as 8-bit or 16-bit grey or RGB"


class LabelOfAnotherSize(BadPicture):
    """The label does not lie on its image pixel by pixel."""

    title = "The label's size is not its image's"
    advice = "export both at the same size"


class LabelWithoutThreshold(BadPicture):
    """A label of two values that is neither 0/1 nor reaches half of its range."""

    title = "The label's values are unclear"
    advice = "save lesion as 255 (or 1) and everything else as 0, or name the lesion's value: --foreground VALUE"


class SeveralValues(BadPicture):
    """A label of more than two values: a map of classes, or several regions."""

    title = "A label has more than two values"
    advice = "name the classes: --classes polyp=1,instrument=2; or read all of them as lesion: --labels instances"


class SeveralColours(BadPicture):
    """A label of more colours than black and one other."""

    title = "A label has several colours"
    advice = "name the colours: --classes 'polyp=#ff0000,instrument=#00ff00'; or read all of them: --labels instances"


class LabelLooksLikePicture(BadPicture):
    """A label of hundreds of levels or colours without even areas: an overlay, a photograph, a probability map."""

    title = "A label looks like a picture"
    advice = "export the mask itself, without the picture; --labels binary reads a probability map at half of its range"


class UnknownClass(BadPicture):
    """A label shows values or colours that no class of the list has."""

    title = "A label shows something that is no class"
    advice = "name every value or every colour in --classes, and save labels without loss, as PNG"
