"""What the client's tests share."""

from collections.abc import Iterator

import pytest

from tests.unit.client.rough_server import RoughServer


@pytest.fixture
def rough_server() -> Iterator[RoughServer]:
    server = RoughServer()
    yield server
    server.close()
