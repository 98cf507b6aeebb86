"""Sends a Deepgram stream's messages when they are due, as the current fault allows."""

import asyncio
import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import POLL_S, Admission
from lab.simulators.clock import monotonic
from lab.simulators.deepgram.errors import CLOSE_SERVER, error_row
from lab.simulators.deepgram.results import ResultsBuilder, error
from lab.simulators.ears.heard import HeardAudio
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.server import abort

GARBAGE: Final = '{"type":"Results","channel":{"alternatives":[{"transcr\x00'
QUEUED_MESSAGES: Final = 500  # at about three a second, enough for minutes of a slow rate


class StreamOver(Exception):  # noqa: N818 - the stream's end, not an error
    """The stream is over; the exception's message says how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to send.

    Attributes:
        heard: A result; `None` to send `event` unchanged.
        due_s: When to send it, on the clock.
        delay_s: Its drawn delay, so that a slow rate can stretch it.
        last: Whether the stream ends after it.
    """

    due_s: float
    delay_s: float
    heard: HeardAudio | None = None
    event: dict[str, Any] | None = None
    from_finalize: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramStream:
    """One open stream: the upgrade request, its admission, the websocket."""

    request: web.Request
    admission: Admission
    ws: web.WebSocketResponse


class ShownWords:
    """Counts the words that the client was sent, in total and during the current fault."""

    def __init__(self) -> None:
        self.words = 0  # the words in final results, plus the most that a later interim result had
        self._final_words = 0
        self._fault: Fault | None = None
        self._before_fault = 0

    def note_fault(self, fault: Fault | None) -> Fault | None:
        """Restart the count `since_fault` if the fault has changed; return the fault."""
        if fault != self._fault:
            self._fault = fault
            self._before_fault = self.words
        return fault

    @property
    def since_fault(self) -> int:
        """The words since the current fault began."""
        return self.words - self._before_fault

    def room(self, limit: int) -> int:
        """Return how many words the next result may have under a fault with this limit."""
        return max(0, self._before_fault + limit - self._final_words)

    def add(self, heard: HeardAudio) -> None:
        """Count a sent result."""
        words = self._final_words + len(heard.words)
        self.words = max(self.words, words)
        if heard.what != "interim":
            self._final_words = words


class Sender:
    """Sends results in order, as the current fault allows."""

    def __init__(
        self, instance: Instance, stream: DeepgramStream, *, builder: ResultsBuilder
    ) -> None:
        self._instance = instance
        self._stream = stream
        self._admission = stream.admission
        self._builder = builder
        self._ws = stream.ws
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue(QUEUED_MESSAGES)
        self._shown = ShownWords()
        self._finals: list[str] = stream.admission.request.details.setdefault("finals", [])

    async def put(
        self,
        *,
        heard: HeardAudio | None = None,
        event: dict[str, Any] | None = None,
        since_s: float | None = None,
        from_finalize: bool = False,
        last: bool = False,
    ) -> None:
        """Queue a message; it is due after the provider's delay, from `since_s` or from now."""
        delay_s = self._instance.pace.ttfb_s()
        out = Outgoing(
            heard=heard,
            event=event,
            due_s=(monotonic() if since_s is None else since_s) + delay_s,
            delay_s=delay_s,
            from_finalize=from_finalize,
            last=last,
        )
        await self._queue.put(out)  # a full queue delays reading: the client notices

    async def run(self) -> None:
        """Send until the stream is over.

        Raises:
            StreamOver: The provider's side ended it.
        """
        while True:
            out = await self._queue.get()
            await self._wait_until_due(out)
            await self._send_under_fault(out)
            await self.apply_fault()

    async def apply_fault(self) -> None:
        """Apply the current fault to an open stream at once.

        Raises:
            StreamOver: The fault ends the stream.
        """
        match self._current_fault():
            case faults.Cut(after_words=limit, how=how) if self._shown.since_fault >= limit:
                await self._cut_stream(how)
            case faults.ErrorEvent(status=status, code=code):
                await _send_error_and_close(self._ws, status, code=code)
            case faults.Quota(where="event", code=code):
                await _send_error_and_close(self._ws, 402, code=code)
            case _:
                pass

    def _current_fault(self) -> Fault | None:
        return self._shown.note_fault(self._admission.fault_now())

    async def _wait_until_due(self, out: Outgoing) -> None:
        """Wait until a message is due, longer while the fault is a slow one."""
        # In small steps, because the fault may change meanwhile.
        while (left_s := out.due_s + self._added_s(out) - monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, POLL_S))

    def _added_s(self, out: Outgoing) -> float:
        """Return how much later than usual a message is due under the current fault."""
        match self._current_fault():
            case faults.SlowStart(delay_s=delay_s):
                return delay_s / self._instance.speed
            case faults.SlowRate(factor=factor):
                return out.delay_s * (1 / factor - 1)
            case _:
                return 0.0

    async def _send_under_fault(self, out: Outgoing) -> None:
        """Send a message as the current fault allows; close the stream after the last one."""
        match self._current_fault():
            case faults.Silent():
                await self._withhold_message(out)
            case faults.Garbage():
                await self._ws.send_str(GARBAGE)
            case faults.Alive() if out.heard is not None:
                await self._send_now(dataclasses.replace(out, heard=_without_words(out.heard)))
            case faults.Stall(after_words=limit) if self._shown.since_fault >= limit:
                await self._withhold_message(out)
            case faults.Cut(after_words=limit) | faults.Stall(after_words=limit) if out.heard:
                await self._send_at_most(out, out.heard, limit=limit)
            case faults.Duplicate():
                await self._send_now(out, times=2)
            case _:
                await self._send_now(out)
        if out.last:
            await self._ws.close(code=1000)
            raise StreamOver("done")

    async def _withhold_message(self, out: Outgoing) -> None:
        """Drop a message; but the last one is kept until the fault ends, and then sent."""
        details = self._stream.admission.request.details
        details["withheld"] = details.get("withheld", 0) + 1
        if out.last:  # a silent server does not close the stream either
            while isinstance(self._current_fault(), faults.Silent | faults.Stall):  # noqa: ASYNC110 - by time
                await asyncio.sleep(POLL_S)
            await self._send_now(out)

    async def _send_at_most(self, out: Outgoing, heard: HeardAudio, *, limit: int) -> None:
        """Send a result; if it exceeds the fault's limit of words, send its first words."""
        room = self._shown.room(limit)
        if len(heard.words) > room:  # send the words that still fit, as an interim result
            heard = dataclasses.replace(heard, words=heard.words[:room], what="interim")
        await self._send_now(dataclasses.replace(out, heard=heard))

    async def _send_now(self, out: Outgoing, *, times: int = 1) -> None:
        """Send a message `times` times now, and count its words once."""
        message = out.event
        if out.heard is not None:
            final = out.heard.what != "interim"
            message = self._builder.results(out.heard, final=final, from_finalize=out.from_finalize)
        for _ in range(times):
            await self._ws.send_str(json.dumps(message, separators=(",", ":")))
        if out.heard is not None:
            self._shown.add(out.heard)
            if out.heard.what != "interim" and out.heard.words:
                self._finals.append(" ".join(word.text for word in out.heard.words))
        if out.from_finalize:
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("flushed", now_s, words=self._shown.words)

    async def _cut_stream(self, how: str) -> None:
        """Break the stream in this way, and raise `StreamOver`."""
        if how == "reset":
            abort(self._stream.request.transport)
        elif how == "close":
            await self._ws.close(code=1000)
        else:
            await _send_error_and_close(self._ws, 500, code=None)
        raise StreamOver(f"cut: {how}")


async def _send_error_and_close(
    ws: web.WebSocketResponse, status: int, *, code: str | None
) -> None:
    """Send an error, close the stream, and raise `StreamOver`."""
    row = error_row(status, code)
    message = error(description=row.text, message=row.code, variant="ServerError")
    await ws.send_str(json.dumps(message))
    await ws.close(code=CLOSE_SERVER[0], message=CLOSE_SERVER[1])
    raise StreamOver(f"error: {row.code}")


def _without_words(heard: HeardAudio) -> HeardAudio:
    return dataclasses.replace(heard, words=())
