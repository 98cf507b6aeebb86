"""Sets of delays for a lab, in place of its simulators' own."""

from collections.abc import Mapping
from typing import Final

from lab.simulators.pace import Tempo

QUICK: Final[Mapping[str, Tempo]] = {
    "deepgram": Tempo(
        ttfb_s=0.01,
        rate=1.0,  # unused: results follow the audio
        source="chosen: the words are there before a client's detector says that speech is over",
    ),
    "openai": Tempo(
        ttfb_s=0.12,
        rate=32.0,  # tokens: 40 ms a word; the receptionist's words have 1.28 tokens
        source="chosen: the quickest small models",
    ),
    "cartesia": Tempo(
        ttfb_s=0.10,
        rate=0.2 / 0.06,  # seconds of audio a second: a word of 200 ms takes 60 ms
        source="chosen: the quickest voices, from a machine near them",
    ),
    "elevenlabs": Tempo(ttfb_s=0.10, rate=0.2 / 0.06, source="chosen: as Cartesia's"),
}
TEMPOS: Final[Mapping[str, Mapping[str, Tempo]]] = {"usual": {}, "quick": QUICK}
