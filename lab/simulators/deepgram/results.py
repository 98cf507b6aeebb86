"""Builds Deepgram's JSON messages from recognition results; never waits or sends.

Source: deepgram/deepgram-api-specs `asyncapi.yml` (listen v1) and `openapi.yml`.
"""

import functools
import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lab.simulators.clock import utc_now
from lab.simulators.deepgram.query import Query
from lab.simulators.ears.domain import read_templates
from lab.simulators.ears.heard import HeardAudio, RecognisedWord

CHANNEL: Final = [0, 1]  # index, number of channels
# fmt: off
QUESTIONS: Final = frozenset({
    "what", "when", "where", "who", "how", "which", "can", "could", "may", "would", "do", "does",
    "is", "are", "sorry",
})
# fmt: on
LESS_SURE: Final = 0.8  # for each further reading; chosen
MODEL_VERSION: Final = "2025-04-17.0"  # chosen: a date, as Deepgram's versions are
_MODEL_NAMESPACE: Final = uuid.UUID("5e1f2d5a-9a3b-4c57-8d0e-0d5b3f0f2b11")


def new_id() -> str:
    """Return a new `request_id`."""
    return str(uuid.uuid4())


@dataclass(slots=True)
class ResultsTeller:
    """Builds one request's messages."""

    query: Query
    spoken: str = "en"  # the callers' language: the recogniser knows only English
    request_id: str = field(default_factory=new_id)

    def results(
        self, heard: HeardAudio, *, final: bool, from_finalize: bool = False
    ) -> dict[str, Any]:
        """Return a `Results` message."""
        return {
            "type": "Results",
            "channel_index": CHANNEL,
            "duration": round(heard.end_s - heard.start_s, 3),
            "start": heard.start_s,
            "is_final": final,
            "speech_final": final and heard.endpoint,
            "channel": {"alternatives": self.alternatives(heard)},
            "metadata": {
                "request_id": self.request_id,
                "model_info": self.model_info,
                "model_uuid": self.model_uuid,
            },
            "from_finalize": from_finalize,
        }

    def alternatives(self, heard: HeardAudio) -> list[dict[str, Any]]:
        """Return the words, and alternative readings."""
        best = self.alternative(heard.words, ended=heard.endpoint)
        others = (
            self.alternative(_spread(text, heard.words, rank=rank), ended=heard.endpoint)
            for rank, text in enumerate(heard.others, start=1)
        )
        return [best, *others]

    def alternative(self, words: Sequence[RecognisedWord], *, ended: bool) -> dict[str, Any]:
        """Return words as an alternative: transcript, confidence, and each word's times."""
        written = written_as([word.text for word in words], ended=ended)
        told = [self._word(*pair) for pair in zip(words, written, strict=True)]
        kept = written if self.query.formatted else [word.text for word in words]
        sure = sum(word.confidence for word in words) / len(words) if words else 0.0
        alternative: dict[str, Any] = {
            "transcript": " ".join(kept),
            "confidence": round(sure, 6),
            "words": told,
        }
        if self.query.multilingual:
            alternative["languages"] = [self.spoken] if words else []
        return alternative

    def speech_started(self, heard: HeardAudio) -> dict[str, Any]:
        """Return a `SpeechStarted` message."""
        return {"type": "SpeechStarted", "channel": CHANNEL, "timestamp": heard.start_s}

    def utterance_end(self, *, last_word_end_s: float) -> dict[str, Any]:
        """Return an `UtteranceEnd` message."""
        return {"type": "UtteranceEnd", "channel": CHANNEL, "last_word_end": last_word_end_s}

    def metadata(self, *, audio_s: float, audio: "hashlib._Hash") -> dict[str, Any]:
        """Return the `Metadata` at the end of a stream."""
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self.request_id,
            "sha256": audio.hexdigest(),
            "created": utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(audio_s, 3),
            "channels": 1,
            "models": [self.model_uuid],
            "model_info": {self.model_uuid: self.model_info},
        }

    def batch(
        self, words: Sequence[RecognisedWord], *, audio_s: float, audio: "hashlib._Hash"
    ) -> dict[str, Any]:
        """Return the answer to a whole file."""
        metadata = self.metadata(audio_s=audio_s, audio=audio)
        del metadata["type"]
        alternative = self.alternative(words, ended=True)
        channel: dict[str, Any] = {"alternatives": [alternative]}
        if self.query.detect_language:
            channel["detected_language"] = self.spoken
            channel["language_confidence"] = alternative["confidence"]
        return {"metadata": metadata, "results": {"channels": [channel]}}

    @property
    def model_uuid(self) -> str:
        """The model's id, the same in every run."""
        return str(uuid.uuid5(_MODEL_NAMESPACE, self.query.model))

    @property
    def model_info(self) -> dict[str, str]:
        """The model's name, version and architecture."""
        arch = "-".join(self.query.model.split("-")[:2])
        name = f"general-{arch}"
        return {"name": name, "version": MODEL_VERSION, "arch": arch}

    def _word(self, word: RecognisedWord, written: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "word": word.text,
            "start": word.start_s,
            "end": word.end_s,
            "confidence": word.confidence,
        }
        if self.query.formatted:
            told["punctuated_word"] = written
        if self.query.multilingual:
            told["language"] = self.spoken
        return told


def error(*, description: str, message: str = "", variant: str = "SchemaError") -> dict[str, Any]:
    """Return an `Error` message on the open stream."""
    return {"type": "Error", "variant": variant, "description": description, "message": message}


def written_as(words: Iterable[str], *, ended: bool) -> list[str]:
    """Return words as in a written sentence: with capitals and a final mark."""
    written = [word.capitalize() if word in _capitalised() else word for word in words]
    if not written:
        return []
    mark = "?" if written[0].lower() in QUESTIONS else "."
    written[0] = written[0][0].upper() + written[0][1:]
    if ended:
        written[-1] += mark
    return written


def _spread(text: str, best: Sequence[RecognisedWord], *, rank: int) -> list[RecognisedWord]:
    """Return another reading's words over the same time, each with a little less confidence.

    The recogniser gives other readings no times and no probability: both are made up.
    """
    words = text.split()
    start_s, end_s = best[0].start_s, best[-1].end_s
    sure = sum(recognised_word.confidence for recognised_word in best) / len(best) * LESS_SURE**rank
    step_s = (end_s - start_s) / len(words)
    return [
        RecognisedWord(
            text=word,
            start_s=round(start_s + at * step_s, 3),
            end_s=round(start_s + (at + 1) * step_s, 3),
            confidence=round(sure, 4),
        )
        for at, word in enumerate(words)
    ]


@functools.cache
def _capitalised() -> frozenset[str]:
    slots = read_templates().slots
    return frozenset(("i", "i'm", "i'd", *slots["first"], *slots["last"], *slots["day"]))
