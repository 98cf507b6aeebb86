"""LiveKit's server API, as tests of dialling, rooms and trunks ask it."""

from collections.abc import Iterator

import pytest

from tests.transports.exchange import Exchange, running_exchange


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with running_exchange() as exchange:
        yield exchange
