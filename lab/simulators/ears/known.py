"""Recognition by look-up, for measurements: it is cheap, and works only with known utterances.

Callers play known sounds over a telephone line, which are looked up 20 ms at a time. Sound that did
not arrive is not recognised, so a lost word is lost here, too. Unknown sound counts as silence. The
interface is that of `Ears`, so the simulated provider's wire protocol does not change.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lab.simulators.ears.ears import HeardResults
from lab.simulators.ears.heard import HeardAudio, HearingSettings, RecognisedWord
from lab.simulators.samples import Samples

RATE_HZ: Final = 8000  # of a telephone
BLOCK: Final = 160  # samples: 20 ms, a telephone's packet
BLOCK_S: Final = BLOCK / RATE_HZ
BLOCK_BYTES: Final = 2 * BLOCK
SILENT_BLOCK: Final = bytes(BLOCK_BYTES)
INTERIM_S: Final = 0.4  # between interim results in speech, as in the real recogniser
QUIET_INTERIM_S: Final = 1.0
QUIET_FINAL_S: Final = 5.0
EARLY_S: Final = 0.1  # silence after which an early recogniser finishes, before a client asks
HEARD_SHARE: Final = 0.5  # chosen: the share of a word that must arrive for it to be recognised


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUtterance:
    """A known utterance.

    Attributes:
        samples: At 8000 Hz, after the telephone's coding.
        words: With their times in the utterance.
    """

    samples: Samples
    words: tuple[RecognisedWord, ...]


class KnownSounds:
    """Finds the place of 20 ms of sound in all known utterances."""

    def __init__(self, utterances: Sequence[KnownUtterance]) -> None:
        self.utterances = utterances
        self._places: dict[bytes, tuple[int, int]] = {}  # utterance, first sample
        for number, utterance in enumerate(utterances):
            sound = utterance.samples.astype("<i2").tobytes()
            for at in range(0, len(utterance.samples) - BLOCK + 1, BLOCK):
                block = sound[2 * at : 2 * at + BLOCK_BYTES]
                if block.strip(b"\0"):
                    self._places.setdefault(block, (number, at))

    def place(self, block: bytes) -> tuple[int, int] | None:
        """Return a block's utterance and its first sample there; `None` for silence, unknown sound.

        Of several places with the same sound, the first counts.
        """
        return self._places.get(block)


class KnownHearing:
    """Recognises one stream: bytes in, results out; no clock, no I/O."""

    def __init__(self, sounds: KnownSounds, settings: HearingSettings, *, early: bool) -> None:
        """Create a recogniser for a stream.

        Raises:
            ValueError: The audio is not a telephone's.
        """
        if (settings.encoding, settings.rate_hz) != ("linear16", RATE_HZ):
            coming = f"{settings.encoding} at {settings.rate_hz} Hz"
            raise ValueError(f"known sounds need linear16 at {RATE_HZ} Hz; the stream has {coming}")
        self._sounds = sounds
        self._endpoint_s = EARLY_S if early else settings.endpoint_s
        self._rest = b""
        self._blocks = 0  # of the stream
        self._final_until_s = self._reported_at_s = 0.0
        self._utterance: int | None = None  # the current one, not all of which is final yet
        self._base_s = 0.0  # its start in the stream
        self._arrived: dict[int, int] = {}  # samples that arrived, by the word's index
        self._final_words: set[int] = set()  # the indexes of the words that are final
        self._quiet_s = 0.0
        self._speaking = False

    def hear(self, audio: bytes) -> Iterator[HeardAudio]:
        """Yield the results of the next piece of audio; only what is iterated is processed."""
        self._rest += audio
        while len(self._rest) >= BLOCK_BYTES:
            block, place = self._next_block()
            self._rest = self._rest[len(block) :]
            self._blocks += 1
            yield from self._follow_block(place)
            yield from self._report_if_due()

    def flush(self) -> Iterator[HeardAudio]:
        """Yield the final result of a flush, possibly without words."""
        yield self._final_result(what="flushed", endpoint=self._quiet_s > 0)

    @property
    def _now_s(self) -> float:
        return round(self._blocks * BLOCK_S, 3)

    def _next_block(self) -> tuple[bytes, tuple[int, int] | None]:
        """Return the next bytes and their place, if known.

        If a known block starts within this one, return only the bytes before it, so that the
        stream is aligned with the known blocks.
        """
        block = self._rest[:BLOCK_BYTES]
        if block == SILENT_BLOCK:
            return block, None
        if place := self._sounds.place(block):
            return block, place
        for shift in range(2, min(BLOCK_BYTES, len(self._rest) - BLOCK_BYTES + 1), 2):
            if self._sounds.place(self._rest[shift : shift + BLOCK_BYTES]):
                return self._rest[:shift], None
        return block, None

    def _follow_block(self, place: tuple[int, int] | None) -> Iterator[HeardAudio]:
        """Count how much of each word has arrived with this block; `None`: the block is silence."""
        if place is None:
            if self._speaking:
                yield from self._count_silence()
            return
        number, at = place
        if not self._speaking:
            yield HeardAudio(what="speech_started", start_s=self._now_s, end_s=self._now_s)
        self._speaking, self._quiet_s = True, 0.0
        base_s = self._now_s - BLOCK_S - at / RATE_HZ
        # Another utterance, or the same one played again.
        if number != self._utterance or abs(base_s - self._base_s) > 1.0:
            self._utterance, self._base_s = number, base_s
            self._arrived, self._final_words = {}, set()
        for index, word in enumerate(self._sounds.utterances[number].words):
            shared_s = min(word.end_s, at / RATE_HZ + BLOCK_S) - max(word.start_s, at / RATE_HZ)
            if shared_s > 0:
                self._arrived[index] = self._arrived.get(index, 0) + round(shared_s * RATE_HZ)

    def _count_silence(self) -> Iterator[HeardAudio]:
        """Yield the final result of an utterance after enough silence."""
        self._quiet_s += BLOCK_S
        if self._endpoint_s is not None and self._quiet_s >= self._endpoint_s - 1e-6:
            yield self._final_result(what="final", endpoint=True)

    def _arrived_words(self) -> list[int]:
        """Return the indexes of the words that have arrived and are not final."""
        if self._utterance is None:
            return []
        words = self._sounds.utterances[self._utterance].words
        return [
            index
            for index, samples in sorted(self._arrived.items())
            if index not in self._final_words
            and samples >= HEARD_SHARE * _length_samples(words[index])
        ]

    def _pending_words(self) -> tuple[RecognisedWord, ...]:
        """Return the words that have arrived and are not final, with times in the stream."""
        if self._utterance is None:
            return ()
        words = self._sounds.utterances[self._utterance].words
        return tuple(
            RecognisedWord(
                text=words[index].text,
                start_s=round(max(0.0, self._base_s + words[index].start_s), 3),
                end_s=round(self._base_s + words[index].end_s, 3),
                confidence=words[index].confidence,
            )
            for index in self._arrived_words()
        )

    def _report_if_due(self) -> Iterator[HeardAudio]:
        """Yield an interim result if the last report is old; a long silence becomes final."""
        if self._speaking:
            if self._now_s - self._reported_at_s >= INTERIM_S:
                yield self._interim_result(self._pending_words())
        elif self._now_s - self._final_until_s >= QUIET_FINAL_S:
            yield self._final_result(what="final", endpoint=False)
        elif self._now_s - self._reported_at_s >= QUIET_INTERIM_S:
            yield self._interim_result(())

    def _interim_result(self, words: tuple[RecognisedWord, ...]) -> HeardAudio:
        """Return an interim result from the last final one until now; restarts the report timer."""
        self._reported_at_s = self._now_s
        return HeardAudio(
            what="interim", start_s=self._final_until_s, end_s=self._now_s, words=words
        )

    def _final_result(self, *, what: str, endpoint: bool) -> HeardAudio:
        """Return the next final result; its words are not reported again."""
        words, start_s = self._pending_words(), self._final_until_s
        self._final_words.update(self._arrived_words())  # a partly arrived word stays pending
        self._final_until_s = self._reported_at_s = self._now_s
        self._speaking = self._speaking and self._quiet_s == 0.0
        return HeardAudio(
            what="flushed" if what == "flushed" else "final",
            start_s=start_s,
            end_s=self._now_s,
            words=words,
            endpoint=endpoint,
        )


def _length_samples(word: RecognisedWord) -> float:
    return (word.end_s - word.start_s) * RATE_HZ


class KnownStream(HeardResults):
    """One caller's audio stream."""

    def __init__(self, number: int, hearing: KnownHearing | str) -> None:
        """Recognise with `hearing`; a string is the reason why the stream fails."""
        super().__init__()
        self.number = number
        self._hearing = hearing
        if isinstance(hearing, str):
            self.put(HeardAudio(what="failed", start_s=0, end_s=0, why=hearing))

    async def hear(self, audio: bytes) -> None:
        """Queue the results of a piece of audio; do nothing if the stream has failed."""
        if isinstance(self._hearing, KnownHearing):
            for heard in self._hearing.hear(audio):
                self.put(heard)

    async def flush(self) -> None:
        """Request a final result now; it arrives as `flushed`."""
        if isinstance(self._hearing, KnownHearing):
            for heard in self._hearing.flush():
                self.put(heard)

    async def close(self) -> None:
        """Drop the stream."""


class KnownEars:
    """The streams of all callers."""

    def __init__(self, utterances: Sequence[KnownUtterance], *, early: bool = False) -> None:
        """Index the known utterances.

        Args:
            utterances: All of them.
            early: Whether words are final after 0.1 s of silence, without a client's flush.
        """
        self._sounds = KnownSounds(utterances)
        self._early = early
        self._numbers = itertools.count(1)

    async def open(self, settings: HearingSettings) -> KnownStream:
        """Return a new stream; it fails at once if its settings are not those of a telephone."""
        try:
            hearing = KnownHearing(self._sounds, settings, early=self._early)
        except ValueError as wrong:
            return KnownStream(next(self._numbers), str(wrong))
        return KnownStream(next(self._numbers), hearing)

    async def stop(self) -> None:
        """Do nothing: no process runs."""
