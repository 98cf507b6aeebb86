"""One utterance on its way out: cut into pieces, paced, counted in words, broken on purpose.

What a fault does to a stream of speech is the same for every provider and stands here; how audio,
an error or an end looks on the wire is the provider's `SpeechChannel`.
"""

import asyncio
from typing import Final

import numpy as np

from faultlab import faults
from faultlab.admission import POLL_S, Admission
from faultlab.faults import Fault
from faultlab.instance import Instance
from faultlab.kept_audio import Take
from faultlab.record import SpokenWord
from faultlab.voices.pieces import AudioPiece, SpeechChannel
from faultlab.voices.voices import Speech

ALIVE_S: Final = 0.1  # chosen: length and distance of the silent pieces that a sign of life is
LAST_BYTES_S: Final = 0.02  # a reset discards what the client has not read; loopback needs less


class UtteranceOver(Exception):  # noqa: N818 - a fault ended the utterance as it was told to
    """The utterance ended before its text did."""


class SpokenUtterance:
    """The speech of one request or context."""

    def __init__(self, instance: Instance, admission: Admission, channel: SpeechChannel) -> None:
        self.sent_s = 0.0  # audio sent so far
        self._instance = instance
        self._admission = admission
        self._channel = channel
        self._words = 0  # in the speeches before this one

    @property
    def begun(self) -> bool:
        """Whether any audio was sent."""
        return self.sent_s > 0

    async def say(self, speech: Speech, *, fresh: bool) -> None:
        """Send a speech piece by piece.

        Args:
            speech: All of it follows what was said before.
            fresh: Nothing was on its way, so the first piece takes the time of a first output.

        Raises:
            Over: A fault ended it.
        """
        if fresh:
            await self._wait_first()
        at = 0
        while at < len(speech.samples):
            fault = await self._passable(speech, at)
            piece = self._piece(speech, at, fault=fault)
            await self._send(piece, fault)
            if at == 0:
                self._admission.request.mark("audio", self._instance.gate.now_s())
            await self._gap(piece.end_s - piece.start_s)
            at = piece.last
        await self._passable(speech, at)
        self._words += len(speech.words)

    async def repeat(self, speech: Speech, *, for_s: float) -> None:
        """Send a speech over and over for so many seconds: output that nobody wants any more."""
        until_s = self._instance.gate.now_s() + for_s
        at = 0
        while speech.duration_s and self._instance.gate.now_s() < until_s:
            piece = self._piece(speech, at % len(speech.samples), fault=None)
            await self._channel.send(piece, None)
            self.sent_s, at = piece.end_s, piece.last
            await self._gap(piece.end_s - piece.start_s)

    # -- faults

    async def _passable(self, speech: Speech, at: int) -> Fault | None:
        """Wait until the fault of the moment lets audio pass, and return it; or end."""
        while True:
            fault = self._admission.fault_now()
            match fault:
                case faults.Silent():
                    await asyncio.sleep(POLL_S)
                case faults.Alive():
                    await self._hum(speech.rate_hz)
                case faults.Stall() if self._reached(speech, at, fault=fault):
                    await asyncio.sleep(POLL_S)
                case faults.Cut() if self._reached(speech, at, fault=fault):
                    await self._cut(fault)
                case _:
                    await self._refuse(fault)
                    return fault

    async def _refuse(self, fault: Fault | None) -> None:
        """End the utterance, if the fault is of that sort."""
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

    async def _cut(self, cut: faults.Cut) -> None:
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

    async def _hum(self, rate_hz: int) -> None:
        silence = np.zeros(round(ALIVE_S * rate_hz), np.int16)
        piece = AudioPiece(samples=silence, start_s=self.sent_s, end_s=self.sent_s + ALIVE_S)
        await self._channel.send(piece, None)
        self.sent_s = piece.end_s
        await asyncio.sleep(ALIVE_S)

    # -- words

    def _reached(self, speech: Speech, at: int, *, fault: faults.Cut | faults.Stall) -> bool:
        limit = self._limit(speech, fault)
        return limit is not None and at >= limit

    def _limit(self, speech: Speech, fault: Fault | None) -> int | None:
        """Return the sample of this speech at which the fault ends it; None: not in this one."""
        if not isinstance(fault, faults.Cut | faults.Stall):
            return None
        whole = fault.after_words - self._words
        inside = isinstance(fault, faults.Cut) and fault.inside_word
        if whole < 0 or (whole == 0 and not inside):
            return 0
        if inside and whole < len(speech.words):
            word = speech.words[whole]
            return speech.index((word.start_s + word.end_s) / 2)
        if inside or whole > len(speech.words):
            return None
        return speech.index(speech.words[whole - 1].end_s)

    def _piece(self, speech: Speech, at: int, *, fault: Fault | None) -> AudioPiece:
        total, limit = len(speech.samples), self._limit(speech, fault)
        end = min(self._channel.piece_end(speech, at), total)
        if limit is not None:
            end = min(end, limit)
        base_s = self.sent_s - at / speech.rate_hz
        until = end if end < total else total + 1  # a soundless token may stand at the very end
        begins = (word for word in speech.words if at <= speech.index(word.start_s) < until)
        return AudioPiece(
            samples=speech.samples[at:end],
            start_s=self.sent_s,
            end_s=base_s + end / speech.rate_hz,
            speech=speech,
            first=at,
            words=tuple(word.later(base_s) for word in begins),
        )

    # -- sending

    async def _send(self, piece: AudioPiece, fault: Fault | None) -> None:
        self.sent_s = piece.end_s
        if isinstance(fault, faults.Garbage):
            await self._channel.garbage()
            return
        await self._channel.send(piece, fault)
        if isinstance(fault, faults.Duplicate):
            await self._channel.send(piece, fault)
        self._keep(piece)
        self._note(piece)

    def _keep(self, piece: AudioPiece) -> None:
        """Keep the sound itself, for those who judge what was heard of it."""
        if piece.speech is not None:
            take = Take(
                instance=self._instance.name,
                request=self._admission.request.number,
                at_s=self._instance.gate.now_s(),
                rate_hz=piece.speech.rate_hz,
            )
            self._instance.record.audio.add(take, piece.samples, start_s=piece.start_s)

    def _note(self, piece: AudioPiece) -> None:
        """Record the words that are complete with this piece."""
        if piece.speech is None:
            return
        base_s = piece.start_s - piece.first / piece.speech.rate_hz
        for word in piece.speech.words:
            end = max(piece.speech.index(word.end_s), 1)
            if piece.first < end <= piece.last:
                self._instance.record.spoke(
                    SpokenWord(
                        instance=self._instance.name,
                        request=self._admission.request.number,
                        text=word.text,
                        start_s=base_s + word.start_s,
                        end_s=base_s + word.end_s,
                        sent_at_s=self._instance.gate.now_s(),
                    )
                )

    # -- time

    async def _wait_first(self) -> None:
        await self._instance.pace.wait_first()
        begin_s = self._instance.gate.now_s()
        while True:
            fault = self._admission.fault_now()
            late_s = fault.delay_s if isinstance(fault, faults.SlowStart) else 0.0
            left_s = begin_s + late_s - self._instance.gate.now_s()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, POLL_S))

    async def _gap(self, duration_s: float) -> None:
        """Wait as long as this much audio takes; a change of the rate acts within it."""
        left_s = self._instance.pace.gap_s(duration_s)
        while left_s > 0:
            fault = self._admission.fault_now()
            factor = fault.factor if isinstance(fault, faults.SlowRate) else 1.0
            step_s = min(left_s / factor, POLL_S)
            await asyncio.sleep(step_s)
            left_s -= step_s * factor
