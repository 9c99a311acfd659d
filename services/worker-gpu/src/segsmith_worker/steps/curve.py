"""A loss curve of bounded length, so that a week of training fits a row and a plot."""

from dataclasses import dataclass, field
from typing import Any, Self

POINTS = 200


@dataclass
class Curve:
    """The mean loss of each of at most 200 equal stretches of `images_total`."""

    images_total: int
    images_seen: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    _stretch: int = 0
    _sum: float = 0.0
    _count: int = 0

    @classmethod
    def from_document(cls, document: dict[str, Any] | None, images_total: int) -> Self:
        """Go on from `as_document`; None begins anew. A stretch that a slice cut becomes two points."""
        known = document or {"images_seen": [], "loss": []}
        return cls(images_total, list(known["images_seen"]), list(known["loss"]))

    def add(self, images_seen: int, loss: float) -> None:
        stretch = images_seen * POINTS // self.images_total
        if stretch != self._stretch and self._count:
            self._close()
        self._stretch, self._sum, self._count = stretch, self._sum + loss, self._count + 1
        self._latest = images_seen

    @property
    def last_loss(self) -> float | None:
        """Mean loss of the last stretch."""
        if self._count:
            return self._sum / self._count
        return self.loss[-1] if self.loss else None

    def as_document(self) -> dict[str, Any]:
        """{"images_seen": [...], "loss": [...]}, the open stretch included."""
        if self._count:
            self._close()
        return {"images_seen": self.images_seen, "loss": self.loss}

    def _close(self) -> None:
        self.images_seen.append(self._latest)
        self.loss.append(round(self._sum / self._count, 6))
        self._sum, self._count = 0.0, 0
