"""Deepgram's voices behind the adapter, against their simulator."""

from typing import ClassVar

import pytest

from tests.providers.tts_conformance import SimulatedTts

pytestmark = pytest.mark.virtual_time


class TestAura(SimulatedTts):
    kind: ClassVar[str] = "aura"
    model: ClassVar[str] = "aura-2-helena-en"
