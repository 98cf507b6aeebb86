"""An answer as server-sent events, with the current faults between any two of them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.instance import Instance
from lab.simulators.listener import abort
from lab.simulators.openai import errors as openai_errors
from lab.simulators.openai.answer import Completion, TokenPiece

SENTENCE_ENDS: Final = (".", "!", "?")
MARKED_AFTER: Final = 3  # words after a sentence: more than a client needs to see that it is over
ALIVE_EVERY_S: Final = 0.1  # chosen: often enough that the connection does not count as idle


class AnswerStream:
    """Sends one answer as server-sent events, modified by the current faults."""

    def __init__(
        self,
        instance: Instance,
        request: web.Request,
        *,
        response: web.StreamResponse,
        admission: Admission,
    ) -> None:
        self._instance = instance
        self._request = request
        self._response = response
        self._admission = admission
        self._words = 0
        self._sent = ""
        self._to_mark = 0

    async def send_all(self, completion: Completion, *, first_s: float) -> None:
        """Send the answer.

        Args:
            completion: The answer.
            first_s: Seconds between the role chunk and the first piece.
        """
        try:
            if not await self._holds(completion, at=None):
                await self._send_pieces(completion, first_s=first_s)
        finally:
            self._admission.request.details |= {"sent": self._sent, "words": self._words}

    async def _send_pieces(self, completion: Completion, *, first_s: float) -> None:
        role = {"role": "assistant", "content": "", "refusal": None}
        if completion.reply.text or not completion.calls:
            await self._event(completion.chunk(role))
        await asyncio.sleep(first_s)
        for piece in completion.pieces:
            if await self._holds(completion, at=piece):
                return
            await self._event(completion.chunk(piece.delta))
            self._words += piece.word_ends
            self._sent += piece.delta.get("content") or ""
            self._mark_next()
            self._mark_sentence()
            factor = rate_factor(self._admission.fault_now())
            await self._instance.pace.wait_gap(factor=factor)
        if await self._holds(completion, at=None):
            return
        await self._event(completion.chunk({}, completion.finish))
        self._mark_next()
        if completion.chat.usage:
            await self._event(completion.usage_chunk())
        await self._done()

    def _mark_sentence(self) -> None:
        if self._sent.endswith(SENTENCE_ENDS):
            self._to_mark = MARKED_AFTER
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("sentence", now_s, words=self._words)

    def _mark_next(self) -> None:
        """Mark what follows a sentence: a client may need it to see the sentence's end."""
        if self._to_mark:
            self._to_mark -= 1
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("next", now_s, words=self._words)

    async def _holds(self, completion: Completion, *, at: TokenPiece | None) -> bool:
        """Apply the current fault before the next output; return True if the stream is over."""
        while self._quiet(fault := self._admission.fault_now()):
            if isinstance(fault, faults.Alive):
                await self._event(completion.chunk({"role": "assistant", "content": ""}))
                await self._response.write(b": keep-alive\n\n")
                await asyncio.sleep(ALIVE_EVERY_S)
            elif fault is not None:
                await self._admission.while_fault(type(fault))
        match fault:
            case faults.Cut(after_words=words) if self._words >= words:
                await self._cut(completion, fault, at=at)
            case faults.ErrorEvent(status=status, code=code):
                await self._error(openai_errors.body(status, code))
            case faults.Quota(code=code):
                await self._error(openai_errors.body(429, code or "insufficient_quota"))
            case _:
                return False
        return True

    def _quiet(self, fault: faults.Fault | None) -> bool:
        if isinstance(fault, faults.Stall):
            return self._words >= fault.after_words
        return isinstance(fault, faults.Silent | faults.Alive)

    async def _cut(
        self, completion: Completion, fault: faults.Cut, *, at: TokenPiece | None
    ) -> None:
        if fault.inside_word and at is not None and at.delta.get("content"):
            text = at.delta["content"]
            half = text[: max(1, len(text) // 2 + 1)]
            await self._event(completion.chunk({"content": half}))
            self._sent += half
        self._admission.close(f"cut by {fault.how}")
        if fault.how == "reset":
            abort(self._request.transport)
        elif fault.how == "error":
            await self._error(openai_errors.body(500))
        # "close": the chunked body just ends, without finish_reason and without [DONE]

    async def _error(self, body: Mapping[str, Any]) -> None:
        self._admission.close("error event")
        await self._write(json.dumps(body))
        await self._done()

    async def _done(self) -> None:
        await self._write("[DONE]")

    async def _event(self, chunk: Mapping[str, Any]) -> None:
        text = json.dumps(chunk, separators=(",", ":"), ensure_ascii=False)
        match self._admission.fault_now():
            case faults.Garbage():
                await self._write('{"id":"chatcmpl-\x00')
            case faults.Duplicate():
                await self._write(text)
                await self._write(text)
            case _:
                await self._write(text)

    async def _write(self, text: str) -> None:
        await self._response.write(f"data: {text}\n\n".encode())


def rate_factor(fault: faults.Fault | None) -> float:
    """Return a fault's output rate, as a share of the normal one."""
    return fault.factor if isinstance(fault, faults.SlowRate) else 1.0
