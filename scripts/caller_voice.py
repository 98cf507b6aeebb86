"""The synthetic voices of the recorded callers: espeak-ng, spoken into memory.

The engine comes with the `espeakng_loader` wheel, so no system package is needed. It is one
global, single-threaded library: this script is its only user in the process.

Source: espeak-ng's `src/include/espeak-ng/speak_lib.h` (1.52).
"""

import ctypes
from typing import Final, TypeAlias

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float64]
"""Mono audio, full scale at -1 and 1."""

SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: no sound device, audio to the callback
DONT_EXIT: Final = 0x8000  # espeakINITIALIZE_DONT_EXIT: report a missing voice, do not end us
RATE: Final = 1  # espeakRATE, words a minute
PITCH: Final = 3  # espeakPITCH, 0 to 100
BY_CHARACTER: Final = 1  # POS_CHARACTER
UTF8: Final = 1  # espeakCHARS_UTF8
SEED: Final = 1300  # espeak-ng rolls dice for breath, and would take the time of day as the seed
AUDIBLE: Final = 0.005  # of full scale (-46 dB): below it, the edges count as silence

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Voices:
    """The loaded engine.

    Raises:
        RuntimeError: The engine or its data could not be loaded.
    """

    def __init__(self) -> None:
        self._heard: list[bytes] = []
        self._engine = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate_hz: int = self._engine.espeak_Initialize(SYNCHRONOUS, 0, data, DONT_EXIT)
        if self.rate_hz <= 0:
            raise RuntimeError(f"espeak-ng did not start with the data in {data.decode()}")
        self._callback = _Callback(self._hear)  # held here, or it would be collected while in use
        self._engine.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, *, voice: str, words_a_minute: int, pitch: int = 50) -> Samples:
        """Return `text` as speech at `rate_hz`, without the silence at its edges.

        Args:
            text: What is said, in English spelling.
            voice: espeak-ng's name of a voice, with an optional variant: `en-us+f3`.
            words_a_minute: How fast; espeak-ng takes 80 to 450.
            pitch: 0 to 100; espeak-ng's own is 50.

        Raises:
            ValueError: There is no such voice.
        """
        if self._engine.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        self._engine.espeak_SetParameter(RATE, words_a_minute, 0)
        self._engine.espeak_SetParameter(PITCH, pitch, 0)
        self._engine.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self._heard.clear()
        spoken = text.encode()
        self._engine.espeak_Synth(spoken, len(spoken) + 1, 0, BY_CHARACTER, 0, UTF8, None, None)
        sound = np.frombuffer(b"".join(self._heard), dtype=np.int16).astype(np.float64) / 32768
        return trimmed(sound)

    def _hear(self, wav: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if wav and count > 0:
            self._heard.append(ctypes.string_at(wav, count * 2))
        return 0  # go on speaking


def trimmed(sound: Samples) -> Samples:
    """Return `sound` from its first audible sample to its last."""
    audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
    return sound[audible[0] : audible[-1] + 1] if audible.size else sound[:0]
