"""Fixtures that the end-to-end tests share with the others."""

from tests.fixtures.engine_room import room, shift, shift_on_duty

__all__ = ["room", "shift", "shift_on_duty"]
