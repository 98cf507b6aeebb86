"""Sends one utterance: cuts it into pieces, paces them, counts words and applies faults.

Applying faults to a stream of speech is the same for every provider. The wire format of audio,
errors and ends is in the provider's `SpeechChannel`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import POLL_S, Admission
from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Instance, no_credit_response
from lab.simulators.record import SpokenWord, Take
from lab.simulators.server import abort
from lab.simulators.voices.pieces import (
    AudioPiece,
    PieceEnd,
    SpeechChannel,
    cut_piece,
    sample_limit,
)
from lab.simulators.voices.voices import Speech


def keep_audio_piece(piece: AudioPiece, instance: Instance, admission: Admission) -> None:
    """Keep the audio in the record, for judging what a caller heard of it."""
    if piece.speech is None:
        return
    take = Take(
        instance=instance.name,
        request=admission.request.number,
        at_s=instance.gate.now_s(),
        rate_hz=piece.speech.rate_hz,
    )
    instance.record.audio.add(take, piece.samples, start_s=piece.start_s)


def record_words(piece: AudioPiece, instance: Instance, admission: Admission) -> None:
    """Record the words that this piece completes."""
    if piece.speech is None:
        return
    base_s = piece.start_s - piece.first / piece.speech.rate_hz
    for word in piece.speech.words:
        end = max(piece.speech.index(word.end_s), 1)
        if piece.first < end <= piece.last:
            instance.record.add_word(
                SpokenWord(
                    instance=instance.name,
                    request=admission.request.number,
                    text=word.text,
                    start_s=base_s + word.start_s,
                    end_s=base_s + word.end_s,
                    sent_at_s=instance.gate.now_s(),
                )
            )


ALIVE_S: Final = 0.1  # chosen: length and interval of the silent pieces that keep a stream alive
LAST_BYTES_S: Final = 0.02  # a reset discards unread data; loopback needs less


class UtteranceOver(Exception):  # noqa: N818 - a fault ended the utterance, as configured
    """A fault ended the utterance early."""


class LabUtterance:
    """The speech of one request or context."""

    def __init__(self, instance: Instance, admission: Admission, channel: SpeechChannel) -> None:
        self.sent_s = 0.0  # audio sent so far
        self._instance = instance
        self._admission = admission
        self._channel = channel
        self._words = 0  # in earlier speeches

    @property
    def begun(self) -> bool:
        """Whether any audio was sent."""
        return self.sent_s > 0

    async def say(self, speech: Speech, *, fresh: bool) -> None:
        """Send a speech piece by piece.

        Args:
            speech: The speech; it follows the earlier ones.
            fresh: Whether no audio was being sent. Then the first piece has the delay of a first
                output.

        Raises:
            UtteranceOver: A fault ended it.
        """
        if fresh:
            await self._wait_first()
        at = 0
        while at < len(speech.samples):
            fault = await self._wait_until_allowed(speech, at)
            piece = self._next_piece(speech, at, fault=fault)
            await self._send_piece(piece, fault)
            if at == 0:
                self._admission.request.mark("audio", self._instance.gate.now_s())
            await self._wait_gap(piece.end_s - piece.start_s)
            at = piece.last
        await self._wait_until_allowed(speech, at)  # a fault may end the speech exactly here
        self._words += len(speech.words)

    async def repeat(self, speech: Speech, *, for_s: float) -> None:
        """Repeat a speech for this many seconds: output after a cancel, which is not recorded."""
        until_s = self._instance.gate.now_s() + for_s
        at = 0
        while speech.duration_s and self._instance.gate.now_s() < until_s:
            piece = self._next_piece(speech, at % len(speech.samples), fault=None)
            await self._channel.send(piece, None)
            self.sent_s, at = piece.end_s, piece.last
            await self._wait_gap(piece.end_s - piece.start_s)

    # -- faults

    async def _wait_until_allowed(self, speech: Speech, at: int) -> Fault | None:
        """Wait until the current fault allows audio to be sent; return the fault.

        Raises:
            UtteranceOver: The fault ends the utterance.
        """
        while True:
            fault = self._admission.fault_now()
            limit = sample_limit(speech, fault, words_before=self._words)
            reached = limit is not None and at >= limit
            match fault:
                case faults.Silent():
                    await asyncio.sleep(POLL_S)
                case faults.Alive():
                    await self._send_silence(speech.rate_hz)
                case faults.Stall() if reached:
                    await asyncio.sleep(POLL_S)
                case faults.Cut() if reached:
                    await self._cut_connection(fault)
                case _:
                    await self._refuse_if_error(fault)
                    return fault

    async def _refuse_if_error(self, fault: Fault | None) -> None:
        """Send the provider's error and raise `UtteranceOver`, if the fault is an error."""
        match fault:
            case (
                faults.ErrorEvent(status=status, code=code) | faults.Http(status=status, code=code)
            ):
                await self._channel.failure(status, code, with_id=True)
            case faults.Quota(code=code):
                await self._channel.quota(code)
            case faults.Mistaken(what="error_without_context"):
                await self._channel.failure(500, None, with_id=False)
            case faults.Refuse() | faults.Reset() | faults.NotTls():
                self._channel.reset()
            case _:
                return
        self._admission.close(fault.name)
        raise UtteranceOver

    async def _cut_connection(self, cut: faults.Cut) -> None:
        """End the connection as the fault says, and raise `UtteranceOver`."""
        self._admission.close(f"cut after {cut.after_words} words")
        self._admission.request.details["cut_at_s"] = self.sent_s
        match cut.how:
            case "close":
                await self._channel.close()
            case "error":
                await self._channel.failure(500, None, with_id=True)
            case _:
                await asyncio.sleep(LAST_BYTES_S)
                self._channel.reset()
        raise UtteranceOver

    async def _send_silence(self, rate_hz: int) -> None:
        """Send silence that belongs to no speech, and wait as long as it lasts."""
        silence = np.zeros(round(ALIVE_S * rate_hz), np.int16)
        piece = AudioPiece(samples=silence, start_s=self.sent_s, end_s=self.sent_s + ALIVE_S)
        await self._channel.send(piece, None)
        self.sent_s = piece.end_s
        await asyncio.sleep(ALIVE_S)

    def _next_piece(self, speech: Speech, at: int, *, fault: Fault | None) -> AudioPiece:
        """Return the next piece from sample `at` on; it ends at the latest where a fault does."""
        total = len(speech.samples)
        limit = sample_limit(speech, fault, words_before=self._words)
        end = min(self._channel.piece_end(speech, at), total if limit is None else limit, total)
        return cut_piece(speech, at, end, start_s=self.sent_s)

    # -- sending

    async def _send_piece(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send a piece as the fault demands; record its sound and words if they were sent."""
        if fault == faults.Mistaken(what="no_audio"):
            return
        self.sent_s = piece.end_s
        if isinstance(fault, faults.Garbage):
            await self._channel.garbage()
            return
        await self._channel.send(piece, fault)
        if isinstance(fault, faults.Duplicate):
            await self._channel.send(piece, fault)
        keep_audio_piece(piece, self._instance, self._admission)
        record_words(piece, self._instance, self._admission)

    # -- time

    async def _wait_first(self) -> None:
        """Wait for the first output's delay, longer while the fault is a slow start."""
        await self._instance.pace.wait_first()
        begin_s = self._instance.gate.now_s()
        while True:
            fault = self._admission.fault_now()
            late_s = fault.delay_s if isinstance(fault, faults.SlowStart) else 0.0
            left_s = begin_s + late_s - self._instance.gate.now_s()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, POLL_S))

    async def _wait_gap(self, duration_s: float) -> None:
        """Wait as long as this much audio takes; a changed rate takes effect at once."""
        left_s = self._instance.pace.gap_s(duration_s)
        while left_s > 0:
            fault = self._admission.fault_now()
            factor = fault.factor if isinstance(fault, faults.SlowRate) else 1.0
            step_s = min(left_s / factor, POLL_S)
            await asyncio.sleep(step_s)
            left_s -= step_s * factor


def spoken_text(text: str, fault: Fault | None) -> str:
    """Return the spoken part of a text: all of it, unless a fault leaves words out."""
    if not isinstance(fault, faults.LeaveOut):
        return text
    words = text.split()
    return " ".join(words[: fault.after_words] + words[fault.after_words + fault.words :])


Render: TypeAlias = Callable[[AudioPiece, Fault | None], bytes]


class SpokenBody:
    """A `SpeechChannel` that writes an HTTP body, beginning with the first audio."""

    def __init__(
        self,
        instance: Instance,
        request: web.Request,
        *,
        headers: Mapping[str, str],
        render: Render,
        piece_end: PieceEnd,
    ) -> None:
        self.piece_end = piece_end
        self._instance = instance
        self._request = request
        self._render = render
        self._response = web.StreamResponse(headers=headers)
        self._refusal: web.Response | None = None

    async def speak(self, speech: Speech, *, last: bytes = b"") -> web.StreamResponse:
        """Send the speech, then `last`, as far as faults allow; return the handler's response."""
        utterance = LabUtterance(self._instance, self._request[ADMISSION], self)
        try:
            await utterance.say(speech, fresh=True)
        except UtteranceOver:
            last = b""
            if self._refusal is not None:
                return self._refusal
        await self._write_audio(last)
        await self._response.write_eof()
        return self._response

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Write a piece in the body's format."""
        await self._write_audio(self._render(piece, fault))

    async def garbage(self) -> None:
        """Write bytes that are neither JSON nor whole samples."""
        await self._write_audio(b'{"\x00\xff garbage\n')

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Answer with the error; if the body has begun, break the connection and raise."""
        del with_id  # HTTP has no contexts
        self._keep_refusal(self._instance.error_response(status, code=code))

    async def quota(self, code: str | None) -> None:
        """Answer like an account without credit."""
        self._keep_refusal(no_credit_response(self._instance, code))

    async def close(self) -> None:
        """Omit the rest; the body ends as if it were complete."""

    def reset(self) -> None:
        """Break the connection, and raise `ConnectionResetError` to end the handler."""
        abort(self._request.transport)
        raise ConnectionResetError

    def _keep_refusal(self, refusal: web.Response) -> None:
        """Keep the answer for `speak` to return; break the connection if the body has begun."""
        if self._response.prepared:
            self.reset()
        self._refusal = refusal

    async def _write_audio(self, audio: bytes) -> None:
        """Write audio; begin the body if it has not begun."""
        if not self._response.prepared:
            await self._response.prepare(self._request)
        if audio:
            await self._response.write(audio)
