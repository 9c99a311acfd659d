"""The engine room: a job engine of this test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.fixtures.engine_room import EngineRoom, engine_room


@pytest.fixture
def room(environment: dict[str, str], engine: Engine, tmp_path: Path) -> Iterator[EngineRoom]:
    with engine_room(environment, engine, tmp_path) as room:
        yield room
