"""Pocketsphinx: recognises words, with likelihoods and alternative readings.

Its wheel includes an English acoustic model, a dictionary and a language model. It holds Python's
lock while it decodes, so this module should be imported only in a process of its own.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from pocketsphinx import Config, Decoder, Vad, get_model_path

MODEL_HZ: Final = 16_000  # the English model was trained at this rate
FRAMES_HZ: Final = 100
ENGLISH_SOUNDS: Final = get_model_path("en-us/en-us")
ENGLISH_DICTIONARY: Final = Path(get_model_path("en-us/cmudict-en-us.dict"))
ENGLISH_MODEL: Final = get_model_path("en-us/en-us.lm.bin")


class Segment(NamedTuple):
    """One part of a reading: a word, a silence (`<sil>`) or a noise (`[NOISE]`, `++UH++`).

    Attributes:
        word: As in the dictionary: `a(2)` is the second pronunciation of `a`.
        start_frame: Its first frame, at `FRAMES_HZ`.
        end_frame: Its last frame.
        fit: The acoustic likelihood of the whole part; may be 0.
        posterior: The word's probability among all readings; known after the utterance has ended.
    """

    word: str
    start_frame: int
    end_frame: int
    fit: float
    posterior: float

    @property
    def frames(self) -> int:
        """Its length in frames."""
        return self.end_frame - self.start_frame + 1


class SphinxDecoder:
    """One decoder: `begin` an utterance, `add` audio, `end` it, then read the result.

    Example:
        >>> decoder = SphinxDecoder({"hmm": ENGLISH_SOUNDS, "lm": ENGLISH_MODEL, ...})
        >>> decoder.start_utterance(); decoder.add(pcm); decoder.end()
        >>> decoder.text(), decoder.readings(3)
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the models.

        Args:
            settings: Pocketsphinx's parameters: `hmm`, `dict`, `lm` or `jsgf`, beams and so on.

        Raises:
            RuntimeError: A model cannot be read.
        """
        self._decoder = Decoder(Config(**settings, loglevel="FATAL"))

    def start_utterance(self) -> None:
        """Begin an utterance."""
        self._decoder.start_utt()

    def add(self, pcm: bytes, *, whole: bool = False) -> None:
        """Decode more audio.

        Args:
            pcm: 16-bit samples at the model's rate.
            whole: Whether it is a complete utterance: then it is normalised with its own mean,
                not a running one.
        """
        self._decoder.process_raw(pcm, no_search=False, full_utt=whole)

    def end(self) -> None:
        """End the utterance."""
        self._decoder.end_utt()

    def text(self) -> str:
        """Return the best reading so far."""
        best = self._decoder.hyp()
        return best.hypstr if best else ""

    def segments(self) -> Iterator[Segment]:
        """Yield the parts of the best reading; nothing if there is none."""
        if self._decoder.hyp() is None:
            return
        for part in self._decoder.seg():
            yield Segment(part.word, part.start_frame, part.end_frame, part.ascore, part.prob)

    def readings(self, limit: int) -> list[str]:
        """Return at most `limit` readings of an ended utterance, the most likely first.

        They have duplicates. An utterance without a hypothesis has no readings.
        """
        if self._decoder.hyp() is None:
            return []
        found = itertools.islice(self._decoder.nbest(), limit)
        return [item.hypstr for item in found if item]

    def knows(self, word: str) -> bool:
        """Return whether the dictionary has a word."""
        return bool(self._decoder.lookup_word(word))

    def learn(self, phones_by_word: dict[str, str]) -> None:
        """Add words to the dictionary; the phones of each are separated by blanks."""
        for word, phones in phones_by_word.items():
            self._decoder.add_word(word, phones, update=True)

    def restrict(self, jsgf: str, *, name: str) -> None:
        """Restrict recognition to a grammar.

        Args:
            jsgf: The grammar.
            name: The name in the grammar.
        """
        self._decoder.add_jsgf_string(name, jsgf)
        self._decoder.activate_search(name)


def strict_voice_detector(*, rate_hz: int, frame_s: float) -> Vad:
    """Return WebRTC's voice detector, which the wheel includes, in its strictest mode."""
    return Vad(Vad.STRICT, rate_hz, frame_s)


def english_phones(words: Iterable[str]) -> dict[str, str]:
    """Return the phones of those words that are in the wheel's English dictionary."""
    wanted = set(words)
    if not wanted:
        return {}
    lines = ENGLISH_DICTIONARY.read_text("utf-8").splitlines()
    split = (line.partition(" ") for line in lines)
    return {word: phones for word, _, phones in split if word in wanted}
