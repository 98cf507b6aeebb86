"""The lab's voices, for all tests of the speaking stage."""

from collections.abc import AsyncIterator

import pytest

from lab.simulators.lab import Lab
from tests.processors.speaking.tts_bench import laboratory


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with laboratory() as lab:
        yield lab
