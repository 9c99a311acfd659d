"""What tells a class apart in a label file, as the processes that decode strangers' files are told it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassMark:
    """How label files show a class: by `value` or by `colour` (#rrggbb). `number` is 1 … F, or 0: background."""

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
