"""Pipecat's services of vendors that have a voice of our own, too, as rungs of kind `pipecat`."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from lab.simulators.instance import Core, Instance
from lab.simulators.lab import Lab, Spec
from providers.provider import RungSpec
from tests.lab.simulators.near_ears import bring_near
from tests.providers.tts_conformance import SimulatedTts

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


class AdaptedVoice(SimulatedTts):
    kind: ClassVar[str] = "pipecat"
    vendor: ClassVar[str]  # whose simulator it speaks to
    voice: ClassVar[str | None] = None

    @pytest.fixture
    async def peer(self) -> AsyncIterator[Instance]:
        specs = [Spec(name="it", kind=self.vendor)]
        async with bring_near(Lab(specs, speed=self.speed, core=Core(uncapped=True))) as lab:
            yield lab.instance("it")

    def rung(self, peer: Any, **changes: Any) -> RungSpec:
        return super().rung(peer, **{"voice": self.voice, "model": self.model, **changes})


class TestCartesia(AdaptedVoice):
    adapted: ClassVar[str] = "pipecat.services.cartesia.tts:CartesiaTTSService"
    vendor: ClassVar[str] = "cartesia"
    model: ClassVar[str] = "sonic-3"
    voice: ClassVar[str | None] = "e07c00bc-4134-4eae-9ea4-1a55fb45746b"


class TestElevenLabs(AdaptedVoice):
    adapted: ClassVar[str] = "pipecat.services.elevenlabs.tts:ElevenLabsTTSService"
    vendor: ClassVar[str] = "elevenlabs"
    model: ClassVar[str] = "eleven_flash_v2_5"
