"""espeak-ng, called as a library: text in, samples and the places of its words out.

It comes as a wheel (`espeakng_loader`), so no system package is needed. It keeps its state in
globals of the loaded library: one lock guards it, and the lab loads a private copy, because the
program under test may speak with the same library in the same process.
"""

import _ctypes
import ctypes
import functools
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import espeakng_loader
import numpy as np

from faultlab.samples import Samples

# speak_lib.h of espeak-ng 1.52: modes, flags, parameters and event types.
SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all is synthesised
DO_NOT_EXIT: Final = 0x8000  # espeakINITIALIZE_DONT_EXIT
UTF8: Final = 1  # espeakCHARS_UTF8
PARAMETER_RATE: Final = 1
PARAMETER_PITCH: Final = 3
SEED: Final = 1300  # espeak-ng rolls dice for breath, and would take the time of day as the seed
EVENT_END: Final = 0  # espeakEVENT_LIST_TERMINATED
EVENT_WORD: Final = 1


class UnknownLanguageError(ValueError):
    """espeak-ng has no voice for what was asked."""


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of the first character, counted from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Heard = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Engine:
    """The one espeak-ng of this process; every use of it is under its lock."""

    def __init__(self) -> None:
        self._library = _private_copy()
        self._lock = threading.Lock()
        self._audio = bytearray()
        self._starts: list[tuple[int, int]] = []
        self._heard = _Heard(self._on_audio)  # kept: the library holds only a pointer to it
        data = espeakng_loader.get_data_path().encode()
        self.rate_hz: int = self._library.espeak_Initialize(SYNCHRONOUS, 0, data, DO_NOT_EXIT)
        if self.rate_hz <= 0:
            raise RuntimeError("espeak-ng did not start: its data files could not be read")
        self._library.espeak_SetSynthCallback(self._heard)

    def speak(
        self, text: str, voice: str, *, words_per_minute: int, pitch: int
    ) -> tuple[Samples, list[tuple[int, int]]]:
        """Speak a text.

        Args:
            text: What is spoken.
            voice: espeak-ng's name of it, `en-us+f3`.
            words_per_minute: 80 to 450.
            pitch: 0 to 100, 50 is the voice's own.

        Returns:
            Samples at `rate_hz`, and (index in the text, sample) for each word event.

        Raises:
            UnknownLanguageError: There is no such voice.
        """
        # A C string ends at NUL; a blank in its place keeps every other character where it is.
        encoded = text.replace("\0", " ").encode(errors="replace")
        with self._lock:
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise UnknownLanguageError(
                    f'espeak-ng has no voice for "{voice.split("+", maxsplit=1)[0]}"'
                )
            self._library.espeak_SetParameter(PARAMETER_RATE, words_per_minute, 0)
            self._library.espeak_SetParameter(PARAMETER_PITCH, pitch, 0)
            self._library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
            self._audio.clear()
            self._starts.clear()
            self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
            return np.frombuffer(bytes(self._audio), np.int16), list(self._starts)

    def close(self) -> None:
        """Let the library go: what it says depends on all that it said before."""
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)  # noqa: SLF001 - ctypes itself never closes one

    def _on_audio(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._audio += ctypes.string_at(wave, count * 2)
        at = 0
        while events[at].type != EVENT_END:
            if events[at].type == EVENT_WORD:
                self._starts.append((events[at].text_position - 1, events[at].sample))
            at += 1
        return 0  # 1 would stop the synthesis


@functools.cache
def engine() -> Engine:
    """Return the engine, loaded at the first call."""
    return Engine()


def _private_copy() -> ctypes.CDLL:
    """Load a copy of the library: another file is another set of globals."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "libespeak-ng-faultlab.so"
        shutil.copyfile(espeakng_loader.get_library_path(), copy)
        return ctypes.CDLL(str(copy))  # stays mapped after the file is gone
