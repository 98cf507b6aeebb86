"""OpenAI's voice behind the adapter, against its simulator."""

from typing import ClassVar

import pytest

from lab.simulators.instance import Instance
from tests.kit.bench import running
from tests.providers.tts_conformance import HELLO, SimulatedTts

pytestmark = pytest.mark.virtual_time


class TestOpenAIVoice(SimulatedTts):
    kind: ClassVar[str] = "openai"
    model: ClassVar[str] = "gpt-4o-mini-tts"

    async def test_calls_share_a_client_that_their_ends_leave_open(self, peer: Instance) -> None:
        shared = self.entry.share(self.rung(peer))
        assert shared is not None
        for _ in range(2):
            async with running(self.service(peer, shared=shared)) as bench:
                assert await self.says(bench, HELLO) == HELLO
        await shared.close()
