"""ElevenLabs: streaming text to speech with word times, probes, and whole texts.

With `auto_mode` it speaks each piece of text at once, without buffers: phrases well, and fragments
badly. So the first piece of a reply has four words, one more than for Cartesia (`catalog.py`). In
the lab, four words are heard 0.03 to 0.05 s after Cartesia's three, and a whole sentence of nine
words 0.13 to 0.27 s; the rest of the sentence follows without a gap. Not yet judged by ear.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final
from urllib.parse import quote, urlencode

from pipecat.services.elevenlabs.tts import (
    ELEVENLABS_MULTILINGUAL_MODELS,
    ElevenLabsTTSService,
)
from pipecat.services.elevenlabs.tts_base import ElevenLabsTTSBase
from pipecat.services.settings import TTSSettings

from calls.voice import VoiceEar
from fallbacks.classification import classify_message, classify_symptom
from fallbacks.symptoms import Moment, Symptom
from fallbacks.word_times import UNIT, is_sign
from providers.batch import BatchRequest, checked_samples, http_base, patience_s, post
from providers.probing import WORDS, Question, Verdict, ask_http, ask_socket, http_twin, is_audible
from providers.provider import RungSpec
from providers.tapped_voice import TappedVoice, VoiceContext

MODEL: Final = "eleven_flash_v2_5"
SPELLINGS: Final = {  # newer servers send `context_id` (observed); the last one is in asyncapi.yml
    "context_id": "contextId",
    "is_final": "isFinal",
    "normalized_alignment": "normalizedAlignment",
    "char_start_times_ms": "charStartTimesMs",
    "char_durations_ms": "charDurationsMs",
    "charsDurationsMs": "charDurationsMs",
}
VOICE: Final = "21m00Tcm4TlvDq8ikWAM"  # Rachel, of ElevenLabs' default voices


class ElevenLabs(TappedVoice, ElevenLabsTTSService):
    """Pipecat's service with a tap on its socket."""

    # The context whose words were reported last, and the length of its audio so far, in seconds.
    _timed: tuple[VoiceContext | None, float] = (None, 0.0)
    _previous_message: Mapping[str, Any] | None = None

    async def read_message(self, ear: VoiceEar, message: Mapping[str, Any]) -> None:
        """Report the words, audio, end or error in a message; ignore repeats and other contexts.

        Source: elevenlabs-docs, asyncapi.yml, multi-stream-input.
        """
        message = normalised(message)
        name = message.get("contextId")
        context = self.tap.find_context(name)
        if message.get("error"):
            await self.tap.report_error(ear, message, name=name, last=True, socket=self._websocket)
        elif context and message.get("isFinal"):
            await self.tap.report_done(ear, context)
        elif context and not self._is_repeat(message):
            await self._report_words(ear, context, message)
            if message.get("audio"):
                context.flowing = True
                await ear.sound(context.attempt, base64.b64decode(message["audio"]))

    async def _update_settings(self, delta: TTSSettings) -> dict[str, Any]:
        """Reconnect only if the URL contains the language; with other models it does not."""
        if self._settings.model in ELEVENLABS_MULTILINGUAL_MODELS:
            return await super()._update_settings(delta)
        return await super(ElevenLabsTTSBase, self)._update_settings(delta)

    def convert_for_pipecat(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return a message with the keys that Pipecat reads; `None` if its context is over.

        Pipecat silently drops a message with other keys. It keeps the letters of one unfinished
        word for all contexts, so late letters would mix with those of the next reply. The context
        being spoken may briefly have no queue yet.
        """
        message = normalised(message)
        name = message.get("contextId")
        is_over = name and name != self._turn_context_id and not self.audio_context_available(name)
        return None if is_over else message

    def _is_repeat(self, message: Mapping[str, Any]) -> bool:
        """Return whether a message with words repeats the previous one.

        A repeat must not advance the word times. Two messages of silence may be equal, but not two
        of speech. The message is kept for the next comparison.
        """
        is_same, self._previous_message = message == self._previous_message, message
        return is_same and any(word for word, _, _ in timed_words(_alignment_in_message(message)))

    async def _report_words(
        self, ear: VoiceEar, context: VoiceContext, message: Mapping[str, Any]
    ) -> None:
        """Report a message's words; times count from the start of the context's audio.

        The times in a message begin at 0, so `_timed` keeps where its last word ended: there the
        next message of the context begins.
        """
        context_before, base_s = self._timed
        base_s = base_s if context_before is context else 0.0
        words = list(timed_words(_alignment_in_message(message)))
        upto_s = base_s + words[-1][2] if words else base_s
        for number, (word, start_s, end_s) in enumerate(words, 1):
            if word:
                # A sign may be spoken as several words, so its end is not known yet.
                may_continue = number == len(words) and is_sign(word[-1])
                known_end_s = None if may_continue else base_s + end_s
                await ear.word(context.attempt, word, start_s=base_s + start_s, end_s=known_end_s)
        self._timed = (context, upto_s)


def normalised(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message with the keys that Pipecat reads, including those in nested objects."""
    inner = {key: normalised(part) for key, part in message.items() if isinstance(part, Mapping)}
    if message.keys().isdisjoint(SPELLINGS) and all(message[key] is inner[key] for key in inner):
        return message
    return {SPELLINGS.get(key, key): inner.get(key, value) for key, value in message.items()}


def _alignment_in_message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the times of a message's characters."""
    return message.get("alignment") or message.get("normalizedAlignment") or {}


def timed_words(alignment: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield a message's words with their start and end in the message's audio, in seconds.

    Blanks are yielded as empty words. The last word may continue in the next message, which does
    not matter to code that follows letters. A sign that is spoken as a word is complete.
    """
    chars = alignment.get("chars") or []
    starts_ms = alignment.get("charStartTimesMs") or []
    durations_ms = alignment.get("charDurationsMs") or []
    letters = list(zip(chars, starts_ms, durations_ms, strict=False))
    for blank, group in groupby(letters, key=lambda letter: letter[0].isspace()):
        run = list(group)
        word = "".join(char for char, _, _ in run)
        parts = [("" if blank else word, run)]
        # In a script without spaces, each sign has a time, if each letter is one character.
        if not blank and len(word) == len(run):
            parts = [(unit[0], run[unit.start() : unit.end()]) for unit in UNIT.finditer(word)]
        for part, timed in parts:
            yield part, timed[0][1] / 1000, (timed[-1][1] + timed[-1][2]) / 1000


def build(rung: RungSpec) -> ElevenLabs:
    """Return a voice that speaks through this rung at the leg's own rate."""
    return ElevenLabs(
        rung_name=rung.name,
        kind=rung.kind,
        api_key=rung.api_key,
        url=rung.url.rstrip("/"),
        sample_rate=rung.sample_rate_hz,
        settings=ElevenLabsTTSService.Settings(
            model=rung.model or MODEL,
            voice=rung.voice or VOICE,
            language=rung.language or None,
            **rung.options,
        ),
    )


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Read the subscription: authenticated, free of charge, without synthesis.

    Raises:
        ProbeFailedError: The provider refused, or did not answer in time.
    """
    await ask_http(
        http_twin(rung.url, "/v1/user/subscription"),
        headers={"xi-api-key": rung.api_key},
        timeout_s=timeout_s,
    )


PROBE_CONTEXT: Final = "probe"


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Synthesise two words.

    Raises:
        ProbeFailedError: ElevenLabs refused, or no audio arrived in time.
    """
    voice = quote(rung.voice or VOICE, safe="")
    query = {
        "model_id": rung.model or MODEL,
        "output_format": f"pcm_{rung.sample_rate_hz}",
        "auto_mode": "true",
    }
    messages = (
        {"text": " ", "context_id": PROBE_CONTEXT},  # opens the context, before any text
        {"text": f"{WORDS} ", "context_id": PROBE_CONTEXT},
        {"context_id": PROBE_CONTEXT, "flush": True},
    )
    question = Question(
        url=f"{rung.url.rstrip('/')}/v1/text-to-speech/{voice}/multi-stream-input?{urlencode(query)}",
        headers={"xi-api-key": rung.api_key},
        messages=tuple(json.dumps(message) for message in messages),
        read=_read_probe,
        silence=Symptom.NO_AUDIO,
        goodbye=json.dumps({"close_socket": True}),
    )
    await ask_socket(question, rung, timeout_s=timeout_s)


def _read_probe(message: Mapping[str, Any]) -> Verdict:
    """Return whether a message has audible audio; an end before that is a failure."""
    if message.get("error"):
        return classify_message("elevenlabs", message, moment=Moment.ASKED)
    if message.get("audio"):
        return is_audible(message["audio"])
    ended = message.get("isFinal") or message.get("is_final")
    return classify_symptom(Symptom.SHORT_AUDIO) if ended else False


MULTILINGUAL: Final = ("eleven_flash_v2_5", "eleven_turbo_v2_5")  # they accept a language


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: ElevenLabs failed; holds the failure.
    """
    model = rung.model or MODEL
    body = {"text": text, "model_id": model}
    if model in MULTILINGUAL and rung.language:
        body["language_code"] = rung.language.partition("-")[0]
    voice = quote(rung.voice or VOICE, safe="")
    request = BatchRequest(
        url=f"{http_base(rung.url)}/v1/text-to-speech/{voice}/stream",
        query={"output_format": f"pcm_{rung.sample_rate_hz}"},
        headers={"xi-api-key": rung.api_key, "Content-Type": "application/json"},
        body=json.dumps(body).encode(),
        within_s=patience_s(rung, text),
    )
    return checked_samples(await post(request, rung), rung, text)
