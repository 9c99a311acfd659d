"""What tells a class apart in a label file, as the processes that decode files need it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassMark:
    """How label files show a class: by `value` or `colour` (#rrggbb). `number`: 1 … F, 0 on background, 255 unknown."""

    name: str
    number: int
    value: int | None
    colour: str | None

    @property
    def sign(self) -> str:
        """Value or colour as people write it."""
        return self.colour or str(self.value)

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three levels. Only where the class has one."""
        red, green, blue = bytes.fromhex(self.sign.removeprefix("#"))
        return red, green, blue
