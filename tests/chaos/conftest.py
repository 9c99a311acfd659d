"""Engines for the tests of this folder."""

from tests.fixtures.engine_room import room, shift, shift_on_duty

__all__ = ["room", "shift", "shift_on_duty"]
