"""Reads in recognisers' messages what Pipecat's transcripts leave out.

A reader adds word times, the end of the audio that a result covers, and the answers without words.
A service without a reader works, too; its words have no times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipecat.transcriptions.language import Language

from calls.transcript import HeardWord


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What one message says.

    Attributes:
        answers: Whether it answers a request to finish, with words or without.
        end_s: The end of the audio that it covers; `None` if it does not say.
        hears: Whether it shows, even without words, that the service listens.
    """

    answers: bool = False
    end_s: float | None = None
    hears: bool = False


class Reader(Protocol):
    """Reads the messages and results of one service.

    Attributes:
        counts: Whether each request to finish is answered by exactly one message.
        parses: Whether every message is JSON of a known form.
    """

    counts: bool
    parses: bool

    def note(self, message: Mapping[str, Any]) -> Note:
        """Return what a message says.

        Raises:
            TypeError, ValueError, KeyError, AttributeError: It is not a message of this service.
        """
        ...

    def words(self, result: Any) -> tuple[HeardWord, ...]:
        """Return the words of the `result` of a transcript frame; raises like `note`."""
        ...

    def language(self, result: Any, named: str | None) -> str | None:
        """Return the language that was heard; `None` if it is not sure of what Pipecat `named`."""
        ...

    @staticmethod
    def settings(language: str) -> Mapping[str, Any]:
        """Return settings that the service needs besides the usual ones."""
        ...


class PlainReader:
    """Reads nothing: any final result may be an answer."""

    counts = parses = False

    def note(self, message: Mapping[str, Any]) -> Note:
        """Return nothing."""
        del message
        return Note()

    def words(self, result: Any) -> tuple[HeardWord, ...]:
        """Return no words."""
        del result
        return ()

    def language(self, result: Any, named: str | None) -> str | None:
        """Return what Pipecat named."""
        del result
        return named

    @staticmethod
    def settings(language: str) -> Mapping[str, Any]:
        """Return none."""
        del language
        return {}


class SegmentReader(PlainReader):
    """Of a service that transcribes each utterance as a whole, after its end."""

    counts = True


class SonioxReader(PlainReader):
    """Tokens with times; `<fin>` answers each `finalize`. Source: Soniox's "WebSocket API"."""

    counts = parses = True

    def note(self, message: Mapping[str, Any]) -> Note:
        """Return whether the message ends with `<fin>`, and how much audio was processed."""
        tokens: Sequence[Mapping[str, Any]] = message["tokens"]
        answers = any(token["text"] == "<fin>" for token in tokens if token["is_final"])
        return Note(answers=answers, end_s=_seconds_of(message.get("total_audio_proc_ms")))

    def words(self, result: Any) -> tuple[HeardWord, ...]:
        """Return the words that the tokens form: a token with a leading space begins one.

        None are returned if a token lacks a time.
        """
        words: list[HeardWord] = []
        for token in result:
            text: str = token["text"]
            start_s, end_s = _seconds_of(token.get("start_ms")), _seconds_of(token.get("end_ms"))
            if start_s is None or end_s is None:
                return ()
            confidence = token.get("confidence")
            if words and not text.startswith(" "):
                last = words.pop()
                text, start_s = last.text + text, last.start_s
                confidence = min(filter(None, (last.confidence, confidence)), default=None)
            words.append(
                HeardWord(text=text.strip(), start_s=start_s, end_s=end_s, confidence=confidence)
            )
        return tuple(word for word in words if word.text)


SURE: Final = 0.7  # confidence in a language, as Pipecat's service wants it
TURN_SILENCE_S: Final = 0.1  # that ends a turn of AssemblyAI's; Pipecat asks for it


class AssemblyReader(PlainReader):
    """Turns with words. Source: AssemblyAI's "Universal-Streaming".

    It may end a turn by itself just before it is asked to, so not every request is answered.
    """

    parses = True

    def note(self, message: Mapping[str, Any]) -> Note:
        """Return whether the message ends a turn, and where."""
        if message["type"] != "Turn":
            return Note(hears=message["type"] == "SpeechStarted")
        ends = bool(message["end_of_turn"])
        words = message["words"]
        end_s = _seconds_of(words[-1]["end"]) if ends and words else None
        end_s = None if end_s is None else end_s + TURN_SILENCE_S
        return Note(answers=ends, end_s=end_s, hears=True)

    def words(self, result: Any) -> tuple[HeardWord, ...]:
        """Return the transcript's words; none if the final timed words are not as many."""
        timed = [word for word in result.words if word.word_is_final]
        if len(timed) != len(result.transcript.split()):
            return ()
        return tuple(
            HeardWord(
                text=text,
                start_s=word.start / 1000,
                end_s=word.end / 1000,
                confidence=word.confidence,
            )
            for text, word in zip(result.transcript.split(), timed, strict=True)
        )

    def language(self, result: Any, named: str | None) -> str | None:
        """Return what Pipecat named if AssemblyAI is sure; otherwise Pipecat names English."""
        sure = getattr(result, "language_code", None) and (result.language_confidence or 0) >= SURE
        return named if sure else None

    @staticmethod
    def settings(language: str) -> Mapping[str, Any]:
        """Return the language, which it does not read from the usual setting."""
        known = language.partition("-")[0] in set(Language)
        return {"language_codes": [Language(language.partition("-")[0])]} if known else {}


READERS: Final[Mapping[str, type[Reader]]] = {
    "pipecat.services.soniox.stt:SonioxSTTService": SonioxReader,
    "pipecat.services.assemblyai.stt:AssemblyAISTTService": AssemblyReader,
}
_ERROR_KEYS: Final = ("error", "error_code", "error_message")


def is_error(message: Mapping[str, Any]) -> bool:
    """Return whether a message reports an error, as most services write it."""
    kind = message.get("type")
    named = isinstance(kind, str) and kind.lower() == "error"
    return named or any(message.get(key) for key in _ERROR_KEYS)


def _seconds_of(milliseconds: object) -> float | None:
    """Return milliseconds as seconds; `None` for anything but a number."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return milliseconds / 1000
