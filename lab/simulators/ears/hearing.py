"""Segments a caller's audio stream into utterances for the recogniser.

The rules:

- Speech starts with four voiced frames of the last five; the 0.3 s before them belong to it.
- After 0.16 s without voice the utterance is *settled*: the search ends and its result is kept, so
  that a flush, which follows a pause, is answered without work. If the speaker goes on, the
  utterance is searched again from its start, which takes a few hundredths of its length.
- It is over after `endpoint_s` without voice, at a flush, or after 10 s of speech. An earlier flush
  is answered as if those 0.16 s had passed.
- An utterance with less than 0.1 s of voice, or with only stretched words, was noise.
- Silence becomes final from time to time, except for its end: speech may just have begun there.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from lab.simulators.ears.heard import HeardAudio, HearingSettings, RecognisedWord
from lab.simulators.ears.intake import Intake
from lab.simulators.ears.recogniser import LabRecogniser
from lab.simulators.ears.voice_gate import FRAME_S, FRAME_SAMPLES, VoiceGate
from lab.simulators.samples import Samples

ONSET: Final = (4, 5)  # this many voiced frames of the last few
BEFORE_FRAMES: Final = 20  # 0.4 s: the onset's 0.1 s and the soft sound before it
SETTLE_FRAMES: Final = 8  # 0.16 s: just before the 0.2 s after which clients flush
LONGEST_FRAMES: Final = 500  # 10 s
VOICED_FRAMES: Final = 5  # 0.1 s: a click, or an opening microphone, has less
QUIET_RMS: Final = 1500.0  # of the loudest 20 ms; a quieter caller is amplified to it: measured
STRETCHED_S: Final = 1.2  # the longest word of the domain ("appointment") takes 0.8 s at 120 wpm
NARROW_HZ: Final = 12_000  # a lower rate has nothing above 6 kHz, which the model also uses
INTERIM_S: Final = 0.4  # between interim results in speech; Deepgram: a second or less
QUIET_INTERIM_S: Final = 1.0  # and in silence
QUIET_FINAL_S: Final = 5.0  # after which silence becomes final


class SearchedUtterance:
    """The current utterance, and the search's results in it.

    Attributes:
        settled: The words of an ended search; `None` while it goes on.
        others: Other readings of them.
    """

    def __init__(
        self,
        recogniser: LabRecogniser,
        frames: list[Samples],
        *,
        began_at: int,
        voiced: int,
        alternatives: int,
    ) -> None:
        """Start with these frames; the first is number `began_at` of the stream."""
        self.settled: tuple[RecognisedWord, ...] | None = None
        self.others: tuple[str, ...] = ()
        self._recogniser = recogniser
        self._frames = frames
        self._unsearched = 0  # frames at the end that were not searched yet
        self._began_at = began_at
        self._voiced = voiced
        self._alternatives = alternatives
        self.begin_search()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Samples, *, voiced: bool) -> None:
        """Add a frame, without searching it yet."""
        self._frames.append(frame)
        self._unsearched += 1
        self._voiced += voiced

    def begin_search(self) -> None:
        """Search from the start, and drop the settled words."""
        self.settled = None
        self._unsearched = len(self._frames)
        loudest = max(float(np.sqrt(np.mean(np.square(f, dtype=float)))) for f in self._frames)
        self._recogniser.begin(gain=max(1.0, QUIET_RMS / max(loudest, 1.0)))

    def search(self) -> None:
        """Search the added frames."""
        if self._unsearched:
            self._recogniser.add(np.concatenate(self._frames[-self._unsearched :]))
            self._unsearched = 0

    def end_in_quiet(self, frames: int) -> None:
        """Search an utterance that a flush ends early as if this much silence followed it.

        Otherwise the search takes the end of the last word for the middle of another.
        """
        if self.settled is None and frames > 0:
            self.search()
            self._recogniser.add(np.zeros(frames * FRAME_SAMPLES, np.int16))

    def settle(self) -> tuple[RecognisedWord, ...]:
        """End the search, unless ended, and return its words."""
        if self.settled is None:
            self.search()
            self._recogniser.close()
            self.settled = _credible(self.words(), voiced=self._voiced)
            self.others = self._recogniser.others(self._alternatives - 1)
        return self.settled

    def words(self) -> tuple[RecognisedWord, ...]:
        """Return the words so far; they may change until settled."""
        if self.settled is not None:
            return self.settled
        return self._recogniser.words(offset_s=self._began_at * FRAME_S)


class Hearing:
    """Recognises one stream. It works synchronously: run it outside an event loop."""

    def __init__(
        self, settings: HearingSettings, *, recogniser: Callable[..., LabRecogniser] = LabRecogniser
    ) -> None:
        """Prepare for the stream.

        Raises:
            ValueError: The settings are not supported.
        """
        self._intake = Intake(encoding=settings.encoding, rate_hz=settings.rate_hz)
        self._endpoint_frames = (
            None if settings.endpoint_s is None else round(settings.endpoint_s / FRAME_S)
        )
        narrow = settings.rate_hz < NARROW_HZ
        self._recogniser = recogniser(grammar=settings.grammar, narrow=narrow)
        self._gate = VoiceGate()
        self._rest = np.zeros(0, np.int16)
        self._frames = 0  # of the stream
        self._final_until = 0  # frames that are final
        self._told_at = 0
        self._before: deque[Samples] = deque(maxlen=BEFORE_FRAMES)
        self._onset: deque[bool] = deque(maxlen=ONSET[1])
        self._utterance: SearchedUtterance | None = None
        self._quiet = 0  # frames without voice at the end of the utterance, or since the last one
        self._alternatives = settings.alternatives

    def hear(self, audio: bytes) -> Iterator[HeardAudio]:
        """Yield the results of the next piece of audio."""
        yield from self._take(self._intake.take(audio))
        if self._utterance is not None and self._utterance.settled is None:
            self._utterance.search()
        yield from self._interim()

    def _take(self, samples: Samples) -> Iterator[HeardAudio]:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        for at in range(0, whole, FRAME_SAMPLES):
            yield from self._frame(samples[at : at + FRAME_SAMPLES])

    def flush(self) -> Iterator[HeardAudio]:
        """Yield the final result of a flush, possibly without words."""
        yield from self._take(self._intake.drain())
        words: tuple[RecognisedWord, ...] = ()
        if self._utterance is not None:
            self._utterance.end_in_quiet(SETTLE_FRAMES - self._quiet)
            words = self._utterance.settle()
        yield self._final(words, what="flushed", endpoint=self._quiet > 0)

    def _frame(self, frame: Samples) -> Iterator[HeardAudio]:
        self._frames += 1
        voiced = self._gate.voiced(frame)
        if self._utterance is None:
            yield from self._listen(frame, voiced=voiced)
        else:
            yield from self._follow(self._utterance, frame, voiced=voiced)

    def _listen(self, frame: Samples, *, voiced: bool) -> Iterator[HeardAudio]:
        self._before.append(frame)
        self._onset.append(voiced)
        if sum(self._onset) < ONSET[0]:
            return
        self._quiet = 0
        self._utterance = SearchedUtterance(
            self._recogniser,
            list(self._before),
            began_at=self._frames - len(self._before),
            voiced=sum(self._onset),
            alternatives=self._alternatives,
        )
        started_s = (self._frames - len(self._onset)) * FRAME_S
        yield HeardAudio(what="speech_started", start_s=round(started_s, 3), end_s=self._now_s)

    def _follow(
        self, utterance: SearchedUtterance, frame: Samples, *, voiced: bool
    ) -> Iterator[HeardAudio]:
        utterance.add(frame, voiced=voiced)
        self._onset.append(voiced)
        self._quiet = 0 if voiced else self._quiet + 1
        if utterance.settled is not None and sum(self._onset) >= ONSET[0] // 2:
            utterance.begin_search()
        elif utterance.settled is None and self._quiet == SETTLE_FRAMES:
            utterance.settle()
        if self._quiet == self._endpoint_frames:
            yield self._final(utterance.settle(), what="final", endpoint=True)
        elif len(utterance) >= LONGEST_FRAMES:
            yield self._final(utterance.settle(), what="final", endpoint=False)

    def _interim(self) -> Iterator[HeardAudio]:
        told_s = (self._frames - self._told_at) * FRAME_S
        if self._utterance is None:
            silent = self._frames - len(self._before) - self._final_until
            if silent * FRAME_S >= QUIET_FINAL_S:
                yield self._final((), what="final", endpoint=False)
            elif told_s >= QUIET_INTERIM_S:
                yield self._tell(())
        elif told_s >= INTERIM_S:
            yield self._tell(self._utterance.words())

    def _tell(self, words: tuple[RecognisedWord, ...]) -> HeardAudio:
        self._told_at = self._frames
        start_s = round(self._final_until * FRAME_S, 3)
        return HeardAudio(what="interim", start_s=start_s, end_s=self._now_s, words=words)

    def _final(self, words: tuple[RecognisedWord, ...], *, what: str, endpoint: bool) -> HeardAudio:
        """Return the new final result; frames that may start speech are kept."""
        kind = "flushed" if what == "flushed" else "final"
        others = self._utterance.others if self._utterance is not None and words else ()
        start_s = round(self._final_until * FRAME_S, 3)
        self._told_at = self._final_until = self._frames
        if self._utterance is not None:
            self._utterance = None
            self._before.clear()
            self._onset.clear()
        elif kind == "final":
            self._final_until -= len(self._before)
        end_s = round(self._final_until * FRAME_S, 3)
        return HeardAudio(
            what=kind, start_s=start_s, end_s=end_s, words=words, others=others, endpoint=endpoint
        )

    @property
    def _now_s(self) -> float:
        return round(self._frames * FRAME_S, 3)


def _credible(words: tuple[RecognisedWord, ...], *, voiced: int) -> tuple[RecognisedWord, ...]:
    """Return the words if their voiced frames are plausible as speech, not noise."""
    if voiced < VOICED_FRAMES:
        return ()
    if all(word.end_s - word.start_s > STRETCHED_S for word in words):
        return ()
    return words
