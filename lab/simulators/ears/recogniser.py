"""Pocketsphinx with the receptionist's language model, or with only a list of phrases.

The settings were chosen by measuring word errors on synthetic callers (`tests/lab/simulators/
test_ears.py` measures them again).
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

from engines.sphinx import ENGLISH_SOUNDS, FRAMES_HZ, SphinxDecoder, english_phones
from lab.simulators.ears.domain import DATA, words_of
from lab.simulators.ears.heard import RecognisedWord
from lab.simulators.ears.intake import MODEL_HZ
from lab.simulators.samples import Samples

LANGUAGE_MODEL: Final = DATA / "domain.lm"
DICTIONARY: Final = DATA / "domain.dict"
SETTINGS: Final[dict[str, Any]] = {
    "hmm": ENGLISH_SOUNDS,
    "dict": str(DICTIONARY),
    # The vocabulary is small, so wide beams cost little: they halve the word errors.
    "beam": 1e-64,
    "wbeam": 1e-40,
    "pbeam": 1e-64,
    "lpbeam": 1e-60,
    "lponlybeam": 1e-40,
    "wip": 0.2,
    # The initial mean for a call's first words: half-way from pocketsphinx's own (40,3,-1) to the
    # mean after four synthetic voices, in order not to fit only these. First words: 4 instead of 11
    # % word errors.
    "cmninit": "49,3,-2,13,-9,1,-1.5,-7,-0.7,-5,3.5,-2.2,-2.5",
    # A second pass over the utterance takes 50 ms while the caller waits for an answer, and saves
    # three errors in a thousand words.
    "fwdflat": False,
}
# The model was never trained on digital silence: 8.6 % word errors without this noise, 2 % with.
NOISE_RMS: Final = 60.0
# Telephone audio has nothing above 4 kHz, where the model expects something: more noise fills it,
# and the cepstral mean differs. First utterances at 8 kHz: about 15 instead of 26 % word errors;
# four times the noise is better still there, and worse on a line with only 300 to 3400 Hz.
NARROW_GAIN: Final = 2
NARROW_CMN: Final = "50.4,3.9,-8.4,10.9,-2.2,-8.3,3.2,-9.3,-5.3,1.8,-3.7,1.4,-1.8"
_NOISE: Final = np.random.default_rng(0).normal(0, NOISE_RMS, 7 * MODEL_HZ).round().astype(np.int32)
READINGS: Final = 60  # to check: most differ only in a pause or a second pronunciation
_SHORTEST_S: Final = 0.06  # for a word; a shorter one is an error of the search


class LabRecogniser:
    """Recognises one utterance after another."""

    def __init__(self, *, grammar: Iterable[str] = (), narrow: bool = False) -> None:
        """Load the models, about 15 ms.

        Args:
            grammar: The only phrases; empty for the receptionist's language model.
            narrow: The audio has telephone bandwidth.

        Raises:
            ValueError: A phrase of the grammar has a word without a known pronunciation.
        """
        phrases = [words_of(phrase) for phrase in grammar]
        model = {} if phrases else {"lm": str(LANGUAGE_MODEL)}
        if narrow:
            model["cmninit"] = NARROW_CMN
        self._noise = _NOISE * NARROW_GAIN if narrow else _NOISE
        self._decoder = SphinxDecoder({**SETTINGS, **model})
        if phrases:
            self._learn(itertools.chain.from_iterable(phrases))
            choices = " | ".join(" ".join(words) for words in phrases)
            jsgf = f"#JSGF V1.0; grammar listed; public <listed> = {choices};"
            self._decoder.restrict(jsgf, name="listed")
        self._noise_at = 0
        self._gain = 1.0
        self._open = False

    def begin(self, *, gain: float = 1.0) -> None:
        """Start an utterance; drop one in progress.

        Args:
            gain: Amplifies the samples.
        """
        self.close()
        self._gain = gain
        self._decoder.begin()
        self._open = True

    def add(self, samples: Samples) -> None:
        """Decode more of the utterance."""
        at = self._noise_at
        self._noise_at = (at + len(samples)) % (len(self._noise) // 2)
        noise = np.resize(self._noise[at:], len(samples))
        noisy = (samples * self._gain + noise).clip(-32768, 32767).astype(np.int16)
        self._decoder.add(noisy.tobytes())

    def close(self) -> None:
        """End the utterance: a last pass improves the result."""
        if self._open:
            self._open = False
            self._decoder.end()

    def words(self, *, offset_s: float) -> tuple[RecognisedWord, ...]:
        """Return the words of the utterance so far.

        Args:
            offset_s: The utterance's start, added to all times.
        """
        return tuple(self._words(offset_s))

    def others(self, count: int) -> tuple[str, ...]:
        """Return up to this many other readings of an ended utterance, the likelier ones first."""
        if count < 1:
            return ()
        read = dict.fromkeys(
            " ".join(reading.split()) for reading in self._decoder.readings(READINGS)
        )
        read.pop(" ".join(self._decoder.text().split()), None)
        return tuple(fromkey for fromkey in read if fromkey)[:count]

    def _words(self, offset_s: float) -> Iterator[RecognisedWord]:
        for part in self._decoder.segments():
            text = part.word.partition("(")[0]  # "a(2)" is the second pronunciation of "a"
            length_s = part.frames / FRAMES_HZ
            if not text or text[0] in "<[+" or length_s < _SHORTEST_S:
                continue  # <s>, <sil>, [NOISE], ++UH++
            sure = min(1.0, part.fit) if self._open else part.posterior
            yield RecognisedWord(
                text=text,
                start_s=round(offset_s + part.start_frame / FRAMES_HZ, 3),
                end_s=round(offset_s + (part.end_frame + 1) / FRAMES_HZ, 3),
                confidence=round(max(0.0, min(1.0, sure)), 4),
            )

    def _learn(self, words: Iterable[str]) -> None:
        unknown = sorted({word for word in words if not self._decoder.knows(word)})
        known = english_phones(unknown)
        missing = [word for word in unknown if word not in known]
        if missing:
            raise ValueError(f"grammar: no pronunciation is known for {', '.join(missing)}")
        self._decoder.learn({word: known[word] for word in unknown})
