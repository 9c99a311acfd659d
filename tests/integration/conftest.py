"""Engines and imports for the tests of this folder."""

from tests.fixtures.engine_room import room, shift, shift_on_duty
from tests.fixtures.weight_imports import weight_imports

__all__ = ["room", "shift", "shift_on_duty", "weight_imports"]
