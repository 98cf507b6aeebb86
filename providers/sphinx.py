"""Runs pocketsphinx on one caller's audio; the VAD begins and finishes utterances."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr

from engines.sphinx import (
    ENGLISH_DICTIONARY,
    ENGLISH_MODEL,
    ENGLISH_SOUNDS,
    MODEL_HZ,
    Segment,
    SphinxDecoder,
)
from providers.sphinx_ear import Ear, SphinxResult

Samples = npt.NDArray[np.int16]

# The audio before an utterance that is decoded with it: a voice is detected 0.2 s late, a soft one
# even later.
LEAD_KEPT_S: Final = 0.6
INTERIM_S: Final = 0.4  # between interim results
MAX_UTTERANCE_S: Final = 20.0  # a longer one is reported in parts, to bound memory
ALTERNATIVES: Final = 3
PAUSE_FRAMES: Final = 6  # of 10 ms: a shorter silence says too little about its level
FLOOR: Final = -100.0  # the score for a likelihood of zero

# Measured on 30 sentences in three synthetic voices with the wheel's own language model: without
# the noise 54 % of the words are wrong, with it 24 %, because the model never saw digital silence.
NOISE_RMS: Final = 60.0
# The second pass delays the end of an utterance by 100 ms and improves nothing there (24 % with
# it, 23 % without).
SECOND_PASS: Final = False


class Recogniser:
    """Decodes synchronously; run it in its own process, because decoding holds Python's lock."""

    def __init__(self, ear: Ear) -> None:
        """Load the models; takes about half a second.

        Raises:
            RuntimeError: Pocketsphinx cannot read a model.
        """
        self._decoder = SphinxDecoder(_decoder_settings(ear))
        self._noise = np.random.default_rng(0)
        is_model_rate = ear.rate_hz == MODEL_HZ
        # As floats: soxr dithers integers with a seed made from an address, so the same audio would
        # give different words in another process.
        self._resampler = (
            None if is_model_rate else soxr.ResampleStream(ear.rate_hz, MODEL_HZ, 1, "float32")
        )
        self._kept: deque[Samples] = deque()  # the latest audio, while no utterance is in progress
        self._kept_samples = 0
        self._open = False  # whether an utterance is in progress
        self._decoded_samples = 0  # of this utterance
        self._reported_samples = 0  # `_decoded_samples` at the last interim result
        self._reported = ""  # the last interim result

    def start_utterance(self) -> None:
        """Start an utterance with the audio just before; do nothing if one is in progress."""
        if self._open:
            return
        self._decoder.start_utterance()
        self._open = True
        self._decoded_samples = self._reported_samples = 0
        self._reported = ""
        for samples in self._kept:
            self._decode_noisily(samples)
        self._drop_kept()

    def hear(self, audio: bytes) -> Iterator[SphinxResult]:
        """Yield the results of the next piece of audio, which is decoded only as they are read.

        Without an utterance in progress, the audio is kept for the next one: there are no results.
        """
        samples = np.frombuffer(audio[: len(audio) & ~1], "<i2")  # whole samples of 2 bytes
        if self._resampler is not None:
            resampled = self._resampler.resample_chunk(samples.astype(np.float32))
            samples = resampled.round().clip(-32768, 32767).astype(np.int16)
        if not self._open:
            self._keep_lead(samples)
            return
        self._decode_noisily(samples)
        if self._decoded_samples >= MAX_UTTERANCE_S * MODEL_HZ:
            yield self._end_utterance(finished=False)
            self.start_utterance()
        elif self._decoded_samples - self._reported_samples >= INTERIM_S * MODEL_HZ:
            yield from self._interim_results()

    def finish(self) -> SphinxResult:
        """End the utterance and return its words; empty if none was begun.

        Audio kept from before an utterance is dropped: the stage sends it again if it needs it.
        """
        self._drop_kept()
        return self._end_utterance(finished=True)

    def understand(self, audio: bytes) -> SphinxResult:
        """Recognise a whole utterance.

        Its features are normalised with its own mean, not with that of earlier audio, which may
        come from another caller on another line.
        """
        self.start_utterance()
        self._decode_noisily(np.frombuffer(audio[: len(audio) & ~1], "<i2"), whole=True)
        return self.finish()

    def _keep_lead(self, samples: Samples) -> None:
        """Keep audio for the next utterance, about `LEAD_KEPT_S` of it."""
        self._kept.append(samples)
        self._kept_samples += len(samples)
        while self._kept_samples - len(self._kept[0]) >= LEAD_KEPT_S * MODEL_HZ:
            self._kept_samples -= len(self._kept.popleft())

    def _drop_kept(self) -> None:
        """Forget the audio from before an utterance."""
        self._kept.clear()
        self._kept_samples = 0

    def _decode_noisily(self, samples: Samples, *, whole: bool = False) -> None:
        """Decode samples, with faint noise added, because the model never saw digital silence."""
        if not len(samples):
            return  # the resampler holds back its first samples
        noisy = samples + self._noise.normal(0.0, NOISE_RMS, len(samples))
        pcm = noisy.clip(-32768, 32767).astype("<i2").tobytes()
        self._decoder.add(pcm, whole=whole)
        self._decoded_samples += len(samples)

    def _interim_results(self) -> Iterator[SphinxResult]:
        """Yield the reading so far, unless it is empty or the same as the last one."""
        self._reported_samples = self._decoded_samples
        text = self._decoder.text()
        if text and text != self._reported:
            self._reported = text
            yield SphinxResult(what="interim", text=text)

    def _end_utterance(self, *, finished: bool) -> SphinxResult:
        """End the utterance in progress and return its result; without one, an empty result."""
        if not self._open:
            return SphinxResult(what="final", finished=finished)
        self._decoder.end()
        self._open = False
        text = self._decoder.text()
        if not text:
            return SphinxResult(what="final", finished=finished)
        segments = list(self._decoder.segments())
        return SphinxResult(
            what="final",
            text=text,
            confidence=_mean_posterior(segments),
            alternatives=self._other_readings(text),
            finished=finished,
            quiet=_lowest_silence_score(segments),
        )

    def _other_readings(self, best: str) -> tuple[str, ...]:
        """Return the most likely readings of the ended utterance without the best one."""
        others = dict.fromkeys(self._decoder.readings(2 * ALTERNATIVES))
        others.pop(best, None)
        return tuple(others)[:ALTERNATIVES]


def _lowest_silence_score(segments: Iterable[Segment]) -> float:
    """Return the lowest score of the silences, as in `SphinxResult.quiet`; 0 if there are none."""
    scores = (
        math.log(part.fit) / part.frames if part.fit > 0 else FLOOR
        for part in segments
        if part.word == "<sil>" and part.frames >= PAUSE_FRAMES
    )
    return min(scores, default=0.0)


def _mean_posterior(segments: Iterable[Segment]) -> float:
    """Return the mean of the words' posterior probabilities."""
    posteriors = [part.posterior for part in segments if part.word[0] not in "<[+"]
    return round(min(1.0, max(0.0, sum(posteriors) / len(posteriors))), 4) if posteriors else 0.0


def _decoder_settings(ear: Ear) -> dict[str, Any]:
    """Return pocketsphinx's parameters; a grammar takes the place of the language model."""
    paths: dict[str, Any] = {
        "hmm": ear.hmm or ENGLISH_SOUNDS,
        "dict": ear.dict or str(ENGLISH_DICTIONARY),
    }
    if ear.jsgf:
        paths["jsgf"] = ear.jsgf
    else:
        paths["lm"] = ear.lm or ENGLISH_MODEL
    return {**paths, "fwdflat": SECOND_PASS}
