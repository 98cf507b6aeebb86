"""The lab in the test's own process, at the speed of speech."""

from collections.abc import AsyncIterator

import pytest

from lab.simulators.lab import Lab
from tests.kit.near import steady_lab


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with steady_lab(keep_audio=True) as lab:
        yield lab
