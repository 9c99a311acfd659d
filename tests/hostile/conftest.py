"""An API of this test's own, listening on a real port."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from segsmith_shared.settings import Settings
from tests.fixtures.api_room import ApiRoom, api_room


@pytest.fixture
def room(settings: Settings, engine: Engine) -> Iterator[ApiRoom]:
    with api_room(settings.model_copy(update={"upload_part_bytes": 1000}), engine) as room:
        yield room
