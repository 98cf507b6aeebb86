"""Segments a caller's audio stream into utterances for the recogniser.

The rules:

- Speech starts with four voiced frames among the last five; the 0.3 s before them belong to it.
- After 0.16 s without voice the utterance is *settled*: the search ends and its result is kept, so
  that a flush, which follows a pause, is answered without work. If the speaker continues, the
  utterance is searched again from its start, which takes a few per cent of its length.
- It is over after `endpoint_s` without voice, at a flush, or after 10 s of speech. A flush before
  it is settled is answered as if the 0.16 s had passed.
- An utterance with less than 0.1 s of voice, or with only overlong words, was noise.
- Silence becomes final from time to time, except for its end, where speech may just have begun.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from engines.sphinx import (
    ENGLISH_SOUNDS,
    FRAMES_HZ,
    SphinxDecoder,
    english_phones,
    strict_voice_detector,
)
from lab.simulators.ears.domain import DATA, words_of
from lab.simulators.ears.heard import MODEL_HZ, HeardAudio, HearingSettings, Intake, RecognisedWord
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
    # The initial cepstral mean, for a call's first words: half-way from pocketsphinx's own
    # (40,3,-1) to the mean after four synthetic voices, in order not to fit only these. It reduces
    # word errors in first words from 11 to 4 %.
    "cmninit": "49,3,-2,13,-9,1,-1.5,-7,-0.7,-5,3.5,-2.2,-2.5",
    # A second pass over the utterance would take 50 ms while the caller waits for an answer, and
    # avoid three errors in a thousand words.
    "fwdflat": False,
}
# The model was not trained on digital silence: 8.6 % word errors without this noise, 2 % with it.
NOISE_RMS: Final = 60.0
# Telephone audio has nothing above 4 kHz, where the model expects sound. So more noise is added,
# and the cepstral mean differs. First utterances at 8 kHz have about 15 instead of 26 % word
# errors. Four times the noise is even better there, but worse on a line with only 300 to 3400 Hz.
NARROW_GAIN: Final = 2
NARROW_CMN: Final = "50.4,3.9,-8.4,10.9,-2.2,-8.3,3.2,-9.3,-5.3,1.8,-3.7,1.4,-1.8"
_NOISE: Final = np.random.default_rng(0).normal(0, NOISE_RMS, 7 * MODEL_HZ).round().astype(np.int32)
READINGS: Final = 60  # checked for other words: most differ only in a pause or a pronunciation
_SHORTEST_S: Final = 0.06  # a shorter word is an error of the search


class LabRecogniser:
    """Recognises one utterance after another, with pocketsphinx.

    It uses the receptionist's language model, or a list of phrases only. The settings were chosen
    by measuring word errors on synthetic callers (see `tests/lab/simulators/test_ears.py`).
    """

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
            self._learn_pronunciations(itertools.chain.from_iterable(phrases))
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
        self._decoder.start_utterance()
        self._open = True

    def add(self, samples: Samples) -> None:
        """Decode more of the utterance, amplified, and with the noise that the model needs."""
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
        return tuple(self._spoken_words(offset_s))

    def others(self, count: int) -> tuple[str, ...]:
        """Return up to this many other readings of an ended utterance, the likelier ones first."""
        if count < 1:
            return ()
        read = dict.fromkeys(
            " ".join(reading.split()) for reading in self._decoder.readings(READINGS)
        )
        read.pop(" ".join(self._decoder.text().split()), None)
        return tuple(reading for reading in read if reading)[:count]

    def _spoken_words(self, offset_s: float) -> Iterator[RecognisedWord]:
        """Yield the words, without pauses, noises and those that are too short."""
        for part in self._decoder.segments():
            text = part.word.partition("(")[0]  # "a(2)" is the second pronunciation of "a"
            length_s = part.frames / FRAMES_HZ
            if not text or text[0] in "<[+" or length_s < _SHORTEST_S:
                continue  # <s>, <sil>, [NOISE], ++UH++
            confidence = min(1.0, part.fit) if self._open else part.posterior
            yield RecognisedWord(
                text=text,
                start_s=round(offset_s + part.start_frame / FRAMES_HZ, 3),
                end_s=round(offset_s + (part.end_frame + 1) / FRAMES_HZ, 3),
                confidence=round(max(0.0, min(1.0, confidence)), 4),
            )

    def _learn_pronunciations(self, words: Iterable[str]) -> None:
        """Give the decoder pronunciations that it lacks; raise `ValueError` if one is unknown."""
        unknown = sorted({word for word in words if not self._decoder.knows(word)})
        known = english_phones(unknown)
        missing = [word for word in unknown if word not in known]
        if missing:
            raise ValueError(f"grammar: no pronunciation is known for {', '.join(missing)}")
        self._decoder.learn({word: known[word] for word in unknown})


FRAME_S: Final = 0.02
FRAME_SAMPLES: Final = int(MODEL_HZ * FRAME_S)
LOUD_RMS: Final = 15.0  # of 32768: about -67 dBFS; telephone silence is below it
OVER_FLOOR: Final = 2.0  # times the floor; most speech frames at 10 dB SNR exceed it: measured
FLOOR_FRAMES: Final = 75  # 1.5 s: within this time speech always has a gap between two sounds
SMOOTHING_FRAMES: Final = 3


class VoiceGate:
    """Distinguishes speech from silence and steady noise, 20 ms at a time.

    A frame counts as voiced if WebRTC's detector says so and it is clearly louder than the quietest
    moment of the last one and a half seconds: the detector alone mistakes white noise for speech.
    """

    def __init__(self) -> None:
        self._vad = strict_voice_detector(rate_hz=MODEL_HZ, frame_s=FRAME_S)
        self._recent: deque[float] = deque(maxlen=SMOOTHING_FRAMES)
        self._levels: deque[float] = deque(maxlen=FLOOR_FRAMES)

    def is_voiced(self, frame: Samples) -> bool:
        """Return whether these 20 ms are speech; call it once for each frame, in order."""
        rms = float(np.sqrt(np.mean(np.square(frame, dtype=np.float64))))
        self._recent.append(rms)
        self._levels.append(sum(self._recent) / len(self._recent))
        if rms < max(LOUD_RMS, OVER_FLOOR * min(self._levels)):
            return False
        return bool(self._vad.is_speech(frame.tobytes()))


ONSET: Final = (4, 5)  # this many voiced frames of the last few
BEFORE_FRAMES: Final = 20  # 0.4 s: the onset's 0.1 s, and 0.3 s of soft sound before it
SETTLE_FRAMES: Final = 8  # 0.16 s: just below the 0.2 s after which clients flush
MAX_FRAMES: Final = 500  # 10 s
VOICED_FRAMES: Final = 5  # 0.1 s: a click, or an opening microphone, has less
QUIET_RMS: Final = 1500.0  # of the loudest 20 ms; quieter callers are amplified to it: measured
STRETCHED_S: Final = 1.2  # the longest word of the domain ("appointment") takes 0.8 s at 120 wpm
NARROW_HZ: Final = 12_000  # a lower rate has nothing above 6 kHz, which the model also uses
INTERIM_S: Final = 0.4  # between interim results during speech; Deepgram: a second or less
QUIET_INTERIM_S: Final = 1.0  # the same during silence
QUIET_FINAL_S: Final = 5.0  # of silence, which then becomes final


class SearchedUtterance:
    """The current utterance, and the search's results in it.

    Attributes:
        settled: The words, once the search has ended; `None` before that.
        others: Other readings of the settled words.
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

    def pad_with_silence(self, frames: int) -> None:
        """Append this many frames of silence to an utterance that a flush ends early.

        Without them, the search takes the end of the last word for the middle of another word.
        """
        if self.settled is None and frames > 0:
            self.search()
            self._recogniser.add(np.zeros(frames * FRAME_SAMPLES, np.int16))

    def settle(self) -> tuple[RecognisedWord, ...]:
        """End the search, if it still runs, and return its words."""
        if self.settled is None:
            self.search()
            self._recogniser.close()
            self.settled = _plausible_words(self.words(), voiced=self._voiced)
            self.others = self._recogniser.others(self._alternatives - 1)
        return self.settled

    def words(self) -> tuple[RecognisedWord, ...]:
        """Return the words so far; they may change until settled."""
        if self.settled is not None:
            return self.settled
        return self._recogniser.words(offset_s=self._began_at * FRAME_S)


class Hearing:
    """Recognises one stream. It blocks: do not run it on an event loop."""

    def __init__(
        self, settings: HearingSettings, *, recogniser: Callable[..., LabRecogniser] = LabRecogniser
    ) -> None:
        """Create a recogniser for a stream.

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
        self._reported_at = 0
        self._recent_frames: deque[Samples] = deque(maxlen=BEFORE_FRAMES)
        self._onset: deque[bool] = deque(maxlen=ONSET[1])
        self._utterance: SearchedUtterance | None = None
        self._quiet_frames = 0  # consecutive frames without voice, up to now
        self._alternatives = settings.alternatives

    def hear(self, audio: bytes) -> Iterator[HeardAudio]:
        """Yield the results of the next piece of audio; only what is iterated is processed."""
        yield from self._take_samples(self._intake.take(audio))
        if self._utterance is not None and self._utterance.settled is None:
            self._utterance.search()
        yield from self._report_if_due()

    def _take_samples(self, samples: Samples) -> Iterator[HeardAudio]:
        """Yield the results of the complete frames; the rest waits for more samples."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        for at in range(0, whole, FRAME_SAMPLES):
            yield from self._take_frame(samples[at : at + FRAME_SAMPLES])

    def flush(self) -> Iterator[HeardAudio]:
        """Finish the utterance when iterated; yield its final result, which may have no words."""
        yield from self._take_samples(self._intake.drain())
        words: tuple[RecognisedWord, ...] = ()
        if self._utterance is not None:
            self._utterance.pad_with_silence(SETTLE_FRAMES - self._quiet_frames)
            words = self._utterance.settle()
        yield self._final_result(words, what="flushed", endpoint=self._quiet_frames > 0)

    def _take_frame(self, frame: Samples) -> Iterator[HeardAudio]:
        """Yield the results that one frame causes, in or outside an utterance; counts the frame."""
        self._frames += 1
        voiced = self._gate.is_voiced(frame)
        if self._utterance is None:
            yield from self._wait_for_speech(frame, voiced=voiced)
        else:
            yield from self._follow_utterance(self._utterance, frame, voiced=voiced)

    def _wait_for_speech(self, frame: Samples, *, voiced: bool) -> Iterator[HeardAudio]:
        """Start an utterance if enough of the latest frames are voiced."""
        self._recent_frames.append(frame)
        self._onset.append(voiced)
        if sum(self._onset) < ONSET[0]:
            return
        self._quiet_frames = 0
        self._utterance = SearchedUtterance(
            self._recogniser,
            list(self._recent_frames),
            began_at=self._frames - len(self._recent_frames),
            voiced=sum(self._onset),
            alternatives=self._alternatives,
        )
        started_s = (self._frames - len(self._onset)) * FRAME_S
        yield HeardAudio(what="speech_started", start_s=round(started_s, 3), end_s=self._now_s)

    def _follow_utterance(
        self, utterance: SearchedUtterance, frame: Samples, *, voiced: bool
    ) -> Iterator[HeardAudio]:
        """Add a frame to the utterance; settle it, search it again or end it, by the rules."""
        utterance.add(frame, voiced=voiced)
        self._onset.append(voiced)
        self._quiet_frames = 0 if voiced else self._quiet_frames + 1
        # The speaker continues: fewer voiced frames are needed than for a new utterance.
        if utterance.settled is not None and sum(self._onset) >= ONSET[0] // 2:
            utterance.begin_search()
        elif utterance.settled is None and self._quiet_frames == SETTLE_FRAMES:
            utterance.settle()
        if self._quiet_frames == self._endpoint_frames:
            yield self._final_result(utterance.settle(), what="final", endpoint=True)
        elif len(utterance) >= MAX_FRAMES:
            yield self._final_result(utterance.settle(), what="final", endpoint=False)

    def _report_if_due(self) -> Iterator[HeardAudio]:
        """Yield an interim result if the last report is old; a long silence becomes final."""
        since_report_s = (self._frames - self._reported_at) * FRAME_S
        if self._utterance is None:
            silent = self._frames - len(self._recent_frames) - self._final_until
            if silent * FRAME_S >= QUIET_FINAL_S:
                yield self._final_result((), what="final", endpoint=False)
            elif since_report_s >= QUIET_INTERIM_S:
                yield self._interim_result(())
        elif since_report_s >= INTERIM_S:
            yield self._interim_result(self._utterance.words())

    def _interim_result(self, words: tuple[RecognisedWord, ...]) -> HeardAudio:
        """Return an interim result from the last final one until now; restarts the report timer."""
        self._reported_at = self._frames
        start_s = round(self._final_until * FRAME_S, 3)
        return HeardAudio(what="interim", start_s=start_s, end_s=self._now_s, words=words)

    def _final_result(
        self, words: tuple[RecognisedWord, ...], *, what: str, endpoint: bool
    ) -> HeardAudio:
        """Return the next final result, and begin to wait for a new utterance."""
        kind = "flushed" if what == "flushed" else "final"
        others = self._utterance.others if self._utterance is not None and words else ()
        start_s = round(self._final_until * FRAME_S, 3)
        self._reported_at = self._final_until = self._frames
        if self._utterance is not None:
            self._utterance = None
            self._recent_frames.clear()
            self._onset.clear()
        elif kind == "final":  # the latest frames may start speech, so they are not final yet
            self._final_until -= len(self._recent_frames)
        end_s = round(self._final_until * FRAME_S, 3)
        return HeardAudio(
            what=kind, start_s=start_s, end_s=end_s, words=words, others=others, endpoint=endpoint
        )

    @property
    def _now_s(self) -> float:
        return round(self._frames * FRAME_S, 3)


def _plausible_words(
    words: tuple[RecognisedWord, ...], *, voiced: int
) -> tuple[RecognisedWord, ...]:
    """Return the words if they are plausible as speech; none if this was noise."""
    if voiced < VOICED_FRAMES:
        return ()
    if all(word.end_s - word.start_s > STRETCHED_S for word in words):
        return ()
    return words
