"""Flite, a speech synthesiser with voices of its own, and the times of the words in its speech.

Debian's package `flite` has the libraries. Its voices share nothing with espeak-ng's, so they show
how well words are found in the speech of an unknown voice.
"""

import ctypes
import ctypes.util
import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

VOICES: Final = ("kal", "rms", "slt", "awb")
_POINTERS: Final = (
    "flite_synth_text",
    "utt_relation",
    "relation_head",
    "item_next",
    "delete_utterance",
)
_START: Final = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_END: Final = b"R:SylStructure.daughtern.daughtern.R:Segment.end"


class _Wave(ctypes.Structure):
    """cst_wave."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate_hz", ctypes.c_int),
        ("size", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    """The beginning of cst_voice."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


@functools.cache
def _load_library(name: str) -> ctypes.CDLL:
    path = ctypes.util.find_library(name)
    if path is None:
        raise OSError(f"lib{name} is not installed; apt-get install flite")
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


@functools.cache
def _load_flite() -> Any:
    library: Any = _load_library("flite")
    for name in ("flite_usenglish", "flite_cmulex"):
        _load_library(name)
    for name in _POINTERS:
        getattr(library, name).restype = ctypes.c_void_p
    library.utt_wave.restype = ctypes.POINTER(_Wave)
    library.ffeature_float.restype = ctypes.c_float
    library.ffeature_string.restype = ctypes.c_char_p
    library.flite_init()
    return library


@functools.cache
def _load_voice(name: str) -> int:
    register: Any = getattr(_load_library(f"flite_cmu_us_{name}"), f"register_cmu_us_{name}")
    register.restype = ctypes.c_void_p
    return register(None)


def speak(
    text: str, voice: str, *, stretch: float
) -> tuple[npt.NDArray[np.int16], int, list[tuple[str, float, float]]]:
    """Return samples, their rate, and each spoken word with its start and end in seconds.

    Args:
        text: English text.
        voice: One of `VOICES`.
        stretch: The length of its sounds, as a share of the usual one.

    Raises:
        OSError: Flite is not installed.
    """
    flite, spoken = _load_flite(), ctypes.c_void_p(_load_voice(voice))
    features = ctypes.cast(spoken, ctypes.POINTER(_Voice)).contents.features
    flite.feat_set_float(ctypes.c_void_p(features), b"duration_stretch", ctypes.c_float(stretch))
    utterance = ctypes.c_void_p(flite.flite_synth_text(text.encode(), spoken))
    wave = flite.utt_wave(utterance).contents
    samples = np.ctypeslib.as_array(wave.samples, (wave.size,)).copy()
    rate_hz = int(wave.rate_hz)
    words: list[tuple[str, float, float]] = []
    relation = ctypes.c_void_p(flite.utt_relation(utterance, b"Word"))
    item = flite.relation_head(relation)
    while item:
        at = ctypes.c_void_p(item)
        name = flite.ffeature_string(at, b"name").decode()
        words.append((name, flite.ffeature_float(at, _START), flite.ffeature_float(at, _END)))
        item = flite.item_next(at)
    flite.delete_utterance(utterance)
    return samples, rate_hz, words
