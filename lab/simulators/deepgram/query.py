"""Validates the query of `/v1/listen` as Deepgram does.

Source: deepgram/deepgram-api-specs `asyncapi.yml` and `openapi.yml`; deepgram-docs, "Errors".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab.simulators.ears.heard import HearingSettings
from lab.simulators.ears.intake import ENCODINGS, RATES_HZ

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
SHORTEST_ENDPOINT_S: Final = 0.3
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
        alternatives: The most readings, the best one included.
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

    def hearing(self, *, grammar: tuple[str, ...], file_hz: int | None = None) -> HearingSettings:
        """Return the recogniser's settings.

        Args:
            grammar: The instance's listed phrases, if any.
            file_hz: A container's rate, of linear PCM; `None` without a container.
        """
        return HearingSettings(
            encoding="linear16" if file_hz else self.encoding or "linear16",
            rate_hz=file_hz or self.rate_hz or 16_000,
            endpoint_s=self.endpoint_s and max(self.endpoint_s, SHORTEST_ENDPOINT_S),
            grammar=grammar,
            alternatives=self.alternatives,
        )


def parse(query: Mapping[str, str], *, streaming: bool) -> Query:
    """Parse the query.

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
    encoding, rate_hz = _audio(query)
    return Query(
        model=model,
        language=_language(query, model=model, streaming=streaming),
        encoding=encoding,
        rate_hz=rate_hz,
        endpoint_s=_endpoint_s(query),
        utterance_end_s=_utterance_end_s(query),
        interim=_truth(query, "interim_results"),
        formatted=_truth(query, "punctuate") | _truth(query, "smart_format"),
        vad_events=_truth(query, "vad_events"),
        alternatives=_alternatives(query, model=model),
        detect_language=not streaming and query.get("detect_language", "false") != "false",
    )


def _audio(query: Mapping[str, str]) -> tuple[str | None, int | None]:
    encoding = query.get("encoding")
    if encoding is None:
        return None, None
    if encoding not in ENCODINGS:
        raise BadQueryError(f"encoding: this simulator hears {', '.join(ENCODINGS)}")
    if "sample_rate" not in query:
        raise BadQueryError("sample_rate is required when encoding is specified.")
    rate_hz = _whole(query, "sample_rate")
    if rate_hz not in RATES_HZ:
        raise BadQueryError("Invalid query string: sample_rate is out of range.")
    return encoding, rate_hz


def _language(query: Mapping[str, str], *, model: str, streaming: bool) -> str:
    if streaming and "detect_language" in query:
        raise BadQueryError("detect_language is not supported for streaming requests.")
    language = query.get("language", "en")
    many = language == "multi"
    if language.partition("-")[0] not in LANGUAGES or (
        many and not model.startswith(("nova-3", "nova-2"))
    ):
        raise BadQueryError(NO_SUCH_MODEL)
    return language


def _alternatives(query: Mapping[str, str], *, model: str) -> int:
    """Return the number of readings; nova-2 and later models give one.

    Source: Deepgram's staff in their GitHub discussion 823 (a request that names them fails with
    nova-2). The behaviour of nova-3 and the text of the refusal are assumed.
    """
    wanted = _whole(query, "alternatives") if "alternatives" in query else 1
    if wanted < 1:
        raise BadQueryError("Invalid query string: alternatives must be 1 or more.")
    if wanted > 1 and model.startswith(("nova-2", "nova-3")):
        raise BadQueryError("alternatives: not supported by this model.")
    return wanted


def _endpoint_s(query: Mapping[str, str]) -> float | None:
    value = query.get("endpointing")
    if value in (None, "true"):
        return DEFAULT_ENDPOINT_S
    if value in ("false", "0"):
        return None
    return _whole(query, "endpointing") / 1000


def _utterance_end_s(query: Mapping[str, str]) -> float | None:
    if "utterance_end_ms" not in query:
        return None
    wanted_s = _whole(query, "utterance_end_ms") / 1000
    if wanted_s < UTTERANCE_END_MIN_S:
        raise BadQueryError("utterance_end_ms must be 1000 or more.")
    if not _truth(query, "interim_results"):
        raise BadQueryError("utterance_end_ms requires interim_results=true.")
    return wanted_s


def _truth(query: Mapping[str, str], key: str) -> bool:
    value = query.get(key, "false").lower()
    if value not in TRUTHS:
        raise BadQueryError(f"Invalid query string: {key} must be true or false.")
    return TRUTHS[value]


def _whole(query: Mapping[str, str], key: str) -> int:
    value = query[key]
    if not value.isdecimal():
        raise BadQueryError(f"Invalid query string: {key} must be a whole number.")
    return int(value)
