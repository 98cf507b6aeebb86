"""One caller's stream of audio as the recogniser's utterances.

The rules:

- Speech starts with four voiced frames of the last five; the 0.3 s before them belong to it.
- After 0.16 s without voice the utterance is *settled*: the search is ended and its result kept,
  so that a flush, which follows a pause, is answered without work. When the speaker goes on, the
  utterance is searched again from its start, which takes a few hundredths of its length.
- It is over after `endpoint_s` without voice, at a flush, or after 10 s of speech. A flush in less
  than that 0.16 s is answered as if it had passed.
- An utterance with less than 0.1 s of voice, or of nothing but stretched words, was noise.
- Silence becomes final every now and then, but for its end: speech may just have begun there.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from faultlab.ears.heard import HeardAudio, HearingSettings, RecognisedWord
from faultlab.ears.intake import Intake
from faultlab.ears.recogniser import LabRecogniser
from faultlab.ears.voice_gate import FRAME_S, FRAME_SAMPLES, VoiceGate
from faultlab.samples import Samples

ONSET: Final = (4, 5)  # so many voiced frames of the last so many
BEFORE_FRAMES: Final = 20  # 0.4 s: the onset's 0.1 s and the soft sound before it
SETTLE_FRAMES: Final = 8  # 0.16 s: just before the 0.2 s after which clients flush
LONGEST_FRAMES: Final = 500  # 10 s
VOICED_FRAMES: Final = 5  # 0.1 s: a click, or a microphone being opened, has less
QUIET_RMS: Final = 1500.0  # of the loudest 20 ms; a quieter caller is made as loud: measured
STRETCHED_S: Final = 1.2  # the longest word of the domain ("appointment") takes 0.8 s at 120 wpm
NARROW_HZ: Final = 12_000  # a lower rate has nothing above 6 kHz, where the model still listens
INTERIM_S: Final = 0.4  # between interim results in speech; Deepgram: a second or less
QUIET_INTERIM_S: Final = 1.0  # and in silence
QUIET_FINAL_S: Final = 5.0  # after which silence becomes final


class Hearing:
    """Hears one stream. Work is done in the call: let it run where nobody waits."""

    def __init__(
        self, settings: HearingSettings, *, recogniser: Callable[..., LabRecogniser] = LabRecogniser
    ) -> None:
        """Prepare for the stream.

        Raises:
            ValueError: The settings cannot be met.
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
        self._final_until = 0  # frames for which everything was said
        self._told_at = 0
        self._before: deque[Samples] = deque(maxlen=BEFORE_FRAMES)
        self._onset: deque[bool] = deque(maxlen=ONSET[1])
        self._utterance: list[Samples] = []
        self._unsearched = 0  # frames at the end of the utterance that the search has not seen
        self._began_at = 0
        self._voiced = 0
        self._quiet = 0
        self._settled: tuple[RecognisedWord, ...] | None = None
        self._others: tuple[str, ...] = ()  # beside what is settled
        self._alternatives = settings.alternatives

    def hear(self, audio: bytes) -> Iterator[HeardAudio]:
        """Yield what the next piece of audio brought."""
        yield from self._take(self._intake.take(audio))
        if self._utterance and self._settled is None:
            self._search()
        yield from self._interim()

    def _take(self, samples: Samples) -> Iterator[HeardAudio]:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        for at in range(0, whole, FRAME_SAMPLES):
            yield from self._frame(samples[at : at + FRAME_SAMPLES])

    def flush(self) -> Iterator[HeardAudio]:
        """Yield what is final now, as an answer to a flush; the words may be none."""
        yield from self._take(self._intake.drain())
        self._end_in_quiet()
        words = self._settle() if self._utterance else ()
        yield self._final(words, what="flushed", endpoint=self._quiet > 0)

    def _end_in_quiet(self) -> None:
        """Have an utterance that a flush ends early searched as if the quiet behind it were there.

        Without it the search takes the end of the last word for the middle of another.
        """
        ahead = SETTLE_FRAMES - self._quiet
        if self._utterance and self._settled is None and ahead > 0:
            self._search()
            self._recogniser.add(np.zeros(ahead * FRAME_SAMPLES, np.int16))

    def _frame(self, frame: Samples) -> Iterator[HeardAudio]:
        self._frames += 1
        voiced = self._gate.voiced(frame)
        if not self._utterance:
            yield from self._listen(frame, voiced=voiced)
        else:
            yield from self._follow(frame, voiced=voiced)

    def _listen(self, frame: Samples, *, voiced: bool) -> Iterator[HeardAudio]:
        self._before.append(frame)
        self._onset.append(voiced)
        if sum(self._onset) < ONSET[0]:
            return
        self._utterance = list(self._before)
        self._began_at = self._frames - len(self._utterance)
        self._voiced, self._quiet = sum(self._onset), 0
        self._begin_search()
        started_s = (self._frames - len(self._onset)) * FRAME_S
        yield HeardAudio(what="speech_started", start_s=round(started_s, 3), end_s=self._now_s)

    def _follow(self, frame: Samples, *, voiced: bool) -> Iterator[HeardAudio]:
        self._utterance.append(frame)
        self._unsearched += 1
        self._onset.append(voiced)
        self._voiced += voiced
        self._quiet = 0 if voiced else self._quiet + 1
        if self._settled is not None and sum(self._onset) >= ONSET[0] // 2:
            self._begin_search()
        elif self._settled is None and self._quiet == SETTLE_FRAMES:
            self._settle()
        if self._quiet == self._endpoint_frames:
            yield self._final(self._settle(), what="final", endpoint=True)
        elif len(self._utterance) >= LONGEST_FRAMES:
            yield self._final(self._settle(), what="final", endpoint=False)

    def _begin_search(self) -> None:
        self._settled = None
        self._unsearched = len(self._utterance)
        loudest = max(float(np.sqrt(np.mean(np.square(f, dtype=float)))) for f in self._utterance)
        self._recogniser.begin(gain=max(1.0, QUIET_RMS / max(loudest, 1.0)))

    def _search(self) -> None:
        if self._unsearched:
            self._recogniser.add(np.concatenate(self._utterance[-self._unsearched :]))
            self._unsearched = 0

    def _settle(self) -> tuple[RecognisedWord, ...]:
        if self._settled is None:
            self._search()
            self._recogniser.close()
            self._settled = self._credible(self._words())
            self._others = self._recogniser.others(self._alternatives - 1)
        return self._settled

    def _credible(self, words: tuple[RecognisedWord, ...]) -> tuple[RecognisedWord, ...]:
        if self._voiced < VOICED_FRAMES:
            return ()
        if all(word.end_s - word.start_s > STRETCHED_S for word in words):
            return ()
        return words

    def _words(self) -> tuple[RecognisedWord, ...]:
        return self._recogniser.words(offset_s=self._began_at * FRAME_S)

    def _interim(self) -> Iterator[HeardAudio]:
        told_s = (self._frames - self._told_at) * FRAME_S
        if not self._utterance:
            silent = self._frames - len(self._before) - self._final_until
            if silent * FRAME_S >= QUIET_FINAL_S:
                yield self._final((), what="final", endpoint=False)
            elif told_s >= QUIET_INTERIM_S:
                yield self._tell(())
        elif told_s >= INTERIM_S:
            yield self._tell(self._words() if self._settled is None else self._settled)

    def _tell(self, words: tuple[RecognisedWord, ...]) -> HeardAudio:
        self._told_at = self._frames
        start_s = round(self._final_until * FRAME_S, 3)
        return HeardAudio(what="interim", start_s=start_s, end_s=self._now_s, words=words)

    def _final(self, words: tuple[RecognisedWord, ...], *, what: str, endpoint: bool) -> HeardAudio:
        """Return what is final from now on; what may be the start of speech is kept for it."""
        kind = "flushed" if what == "flushed" else "final"
        others = self._others if words else ()
        start_s = round(self._final_until * FRAME_S, 3)
        self._told_at = self._final_until = self._frames
        if self._utterance:
            self._utterance = []
            self._before.clear()
            self._onset.clear()
            self._settled = None
        elif kind == "final":
            self._final_until -= len(self._before)
        end_s = round(self._final_until * FRAME_S, 3)
        return HeardAudio(
            what=kind, start_s=start_s, end_s=end_s, words=words, others=others, endpoint=endpoint
        )

    @property
    def _now_s(self) -> float:
        return round(self._frames * FRAME_S, 3)
