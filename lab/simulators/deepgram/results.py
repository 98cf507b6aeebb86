"""Builds Deepgram's JSON messages from recognition results; never waits or sends.

Source: deepgram/deepgram-api-specs `asyncapi.yml` (listen v1) and `openapi.yml`.
"""

import functools
import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lab.simulators.clock import utc_now
from lab.simulators.ears.domain import read_templates
from lab.simulators.ears.heard import (
    ENCODINGS,
    RATES_HZ,
    HeardAudio,
    HearingSettings,
    RecognisedWord,
)

NO_SUCH_MODEL: Final = "No such model/language/tier combination found."
MODELS: Final = re.compile(r"(nova-3|nova-2|nova|enhanced|base)(-[a-z]+)*")  # family, use
# fmt: off
LANGUAGES: Final = frozenset({
    "bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hi", "hu", "id", "it", "ja",
    "ko", "lt", "lv", "ms", "multi", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sv", "ta", "te",
    "th", "tr", "uk", "vi", "zh",
})
# fmt: on
TRUTHS: Final = {"true": True, "false": False}
DEFAULT_ENDPOINT_S: Final = 0.01  # the specification's default
# The recogniser needs a longer pause than Deepgram's 10 ms to distinguish a stop from an end.
MIN_ENDPOINT_S: Final = 0.3
UTTERANCE_END_MIN_S: Final = 1.0  # deepgram-docs, "Utterance End"


class BadQueryError(Exception):
    """Deepgram would answer 400; the message is its `err_msg`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A request for transcription.

    Attributes:
        encoding: `None` if the audio is in a container that names it.
        endpoint_s: Silence that ends an utterance; `None` for none.
        utterance_end_s: Silence before `UtteranceEnd` is sent; `None` for never.
        formatted: Whether to add capitals and punctuation.
        alternatives: The maximum number of readings, including the best one.
    """

    model: str = "base-general"
    language: str = "en"
    encoding: str | None = None
    rate_hz: int | None = None
    endpoint_s: float | None = DEFAULT_ENDPOINT_S
    utterance_end_s: float | None = None
    interim: bool = False
    formatted: bool = False
    vad_events: bool = False
    detect_language: bool = False
    alternatives: int = 1

    @property
    def multilingual(self) -> bool:
        """Whether results name the language of every word."""
        return self.language == "multi"

    def hearing_settings(
        self, *, grammar: tuple[str, ...], file_hz: int | None = None
    ) -> HearingSettings:
        """Return the recogniser's settings.

        Args:
            grammar: The instance's listed phrases, if any.
            file_hz: A container's rate, of linear PCM; `None` without a container.
        """
        return HearingSettings(
            encoding="linear16" if file_hz else self.encoding or "linear16",
            rate_hz=file_hz or self.rate_hz or 16_000,
            endpoint_s=self.endpoint_s and max(self.endpoint_s, MIN_ENDPOINT_S),
            grammar=grammar,
            alternatives=self.alternatives,
        )


def parse(query: Mapping[str, str], *, streaming: bool) -> Query:
    """Parse and validate the query of `/v1/listen` as Deepgram does.

    Source: deepgram/deepgram-api-specs `asyncapi.yml` and `openapi.yml`; deepgram-docs, "Errors".

    Raises:
        BadQueryError: Deepgram would refuse it.
    """
    model = query.get("model", "base-general")
    if not MODELS.fullmatch(model):
        raise BadQueryError(NO_SUCH_MODEL)
    if model.startswith("nova-3") and "keywords" in query:
        raise BadQueryError("Keywords are not supported for Nova-3, use keyterm instead.")
    if query.get("channels", "1") != "1":
        raise BadQueryError("channels: this simulator hears one channel")
    encoding, rate_hz = _read_audio_format(query)
    return Query(
        model=model,
        language=_read_language(query, model=model, streaming=streaming),
        encoding=encoding,
        rate_hz=rate_hz,
        endpoint_s=_endpoint_s(query),
        utterance_end_s=_utterance_end_s(query),
        interim=_read_boolean(query, "interim_results"),
        formatted=_read_boolean(query, "punctuate") | _read_boolean(query, "smart_format"),
        vad_events=_read_boolean(query, "vad_events"),
        alternatives=_read_alternatives(query, model=model),
        detect_language=not streaming and query.get("detect_language", "false") != "false",
    )


def _read_audio_format(query: Mapping[str, str]) -> tuple[str | None, int | None]:
    """Return encoding and rate; `None` for both if the audio is in a container."""
    encoding = query.get("encoding")
    if encoding is None:
        return None, None
    if encoding not in ENCODINGS:
        raise BadQueryError(f"encoding: this simulator hears {', '.join(ENCODINGS)}")
    if "sample_rate" not in query:
        raise BadQueryError("sample_rate is required when encoding is specified.")
    rate_hz = _whole_number(query, "sample_rate")
    if rate_hz not in RATES_HZ:
        raise BadQueryError("Invalid query string: sample_rate is out of range.")
    return encoding, rate_hz


def _read_language(query: Mapping[str, str], *, model: str, streaming: bool) -> str:
    """Return the language; refuse one that the model does not have."""
    if streaming and "detect_language" in query:
        raise BadQueryError("detect_language is not supported for streaming requests.")
    language = query.get("language", "en")
    many = language == "multi"
    if language.partition("-")[0] not in LANGUAGES or (
        many and not model.startswith(("nova-3", "nova-2"))
    ):
        raise BadQueryError(NO_SUCH_MODEL)
    return language


def _read_alternatives(query: Mapping[str, str], *, model: str) -> int:
    """Return the number of readings; nova-2 and later models give one.

    Source: Deepgram's staff in their GitHub discussion 823 (with nova-2 a request for alternatives
    fails). The behaviour of nova-3 and the text of the refusal are assumed.
    """
    wanted = _whole_number(query, "alternatives") if "alternatives" in query else 1
    if wanted < 1:
        raise BadQueryError("Invalid query string: alternatives must be 1 or more.")
    if wanted > 1 and model.startswith(("nova-2", "nova-3")):
        raise BadQueryError("alternatives: not supported by this model.")
    return wanted


def _endpoint_s(query: Mapping[str, str]) -> float | None:
    """Return the silence that ends an utterance, in seconds; `None` if it is switched off."""
    value = query.get("endpointing")
    if value in (None, "true"):
        return DEFAULT_ENDPOINT_S
    if value in ("false", "0"):
        return None
    return _whole_number(query, "endpointing") / 1000


def _utterance_end_s(query: Mapping[str, str]) -> float | None:
    """Return the silence before `UtteranceEnd`, in seconds; `None` if it is not requested."""
    if "utterance_end_ms" not in query:
        return None
    wanted_s = _whole_number(query, "utterance_end_ms") / 1000
    if wanted_s < UTTERANCE_END_MIN_S:
        raise BadQueryError("utterance_end_ms must be 1000 or more.")
    if not _read_boolean(query, "interim_results"):
        raise BadQueryError("utterance_end_ms requires interim_results=true.")
    return wanted_s


def _read_boolean(query: Mapping[str, str], key: str) -> bool:
    """Return a flag, False if absent.

    Raises:
        BadQueryError: It is neither true nor false.
    """
    value = query.get(key, "false").lower()
    if value not in TRUTHS:
        raise BadQueryError(f"Invalid query string: {key} must be true or false.")
    return TRUTHS[value]


def _whole_number(query: Mapping[str, str], key: str) -> int:
    """Return a number; raise `BadQueryError` for anything but digits."""
    value = query[key]
    if not value.isdecimal():
        raise BadQueryError(f"Invalid query string: {key} must be a whole number.")
    return int(value)


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
class ResultsBuilder:
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
            self.alternative(
                _words_of_other_reading(text, heard.words, rank=rank), ended=heard.endpoint
            )
            for rank, text in enumerate(heard.others, start=1)
        )
        return [best, *others]

    def alternative(self, words: Sequence[RecognisedWord], *, ended: bool) -> dict[str, Any]:
        """Return words as an alternative: transcript, confidence, and each word's times."""
        written = written_as([word.text for word in words], ended=ended)
        entries = [self._word_fields(*pair) for pair in zip(words, written, strict=True)]
        kept = written if self.query.formatted else [word.text for word in words]
        confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
        alternative: dict[str, Any] = {
            "transcript": " ".join(kept),
            "confidence": round(confidence, 6),
            "words": entries,
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

    def _word_fields(self, word: RecognisedWord, written: str) -> dict[str, Any]:
        """Return a word with its times in seconds; `written` is its punctuated form."""
        fields: dict[str, Any] = {
            "word": word.text,
            "start": word.start_s,
            "end": word.end_s,
            "confidence": word.confidence,
        }
        if self.query.formatted:
            fields["punctuated_word"] = written
        if self.query.multilingual:
            fields["language"] = self.spoken
        return fields


def error(*, description: str, message: str = "", variant: str = "SchemaError") -> dict[str, Any]:
    """Return an `Error` message on the open stream."""
    return {"type": "Error", "variant": variant, "description": description, "message": message}


def written_as(words: Iterable[str], *, ended: bool) -> list[str]:
    """Return words as in writing, with capitals; with a final mark if the sentence has ended."""
    written = [word.capitalize() if word in _capitalised_words() else word for word in words]
    if not written:
        return []
    mark = "?" if written[0].lower() in QUESTIONS else "."
    written[0] = written[0][0].upper() + written[0][1:]
    if ended:
        written[-1] += mark
    return written


def _words_of_other_reading(
    text: str, best: Sequence[RecognisedWord], *, rank: int
) -> list[RecognisedWord]:
    """Return the words of another reading, spread over the same time, with less confidence.

    The recogniser reports no times and no probability for other readings, so both are made up.
    """
    words = text.split()
    start_s, end_s = best[0].start_s, best[-1].end_s
    confidence = (
        sum(recognised_word.confidence for recognised_word in best) / len(best) * LESS_SURE**rank
    )
    step_s = (end_s - start_s) / len(words)
    return [
        RecognisedWord(
            text=word,
            start_s=round(start_s + at * step_s, 3),
            end_s=round(start_s + (at + 1) * step_s, 3),
            confidence=round(confidence, 4),
        )
        for at, word in enumerate(words)
    ]


@functools.cache
def _capitalised_words() -> frozenset[str]:
    slots = read_templates().slots
    return frozenset(("i", "i'm", "i'd", *slots["first"], *slots["last"], *slots["day"]))
