"""What goes out on one Deepgram stream: when it is due, and what the present fault does to it."""

import asyncio
import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from faultlab import faults
from faultlab.admission import POLL_S, Admission
from faultlab.clock import monotonic
from faultlab.deepgram.errors import CLOSE_SERVER, answer
from faultlab.deepgram.results import Teller, error
from faultlab.ears.heard import HeardAudio
from faultlab.faults import Fault
from faultlab.instance import Instance
from faultlab.listener import abort

GARBAGE: Final = '{"type":"Results","channel":{"alternatives":[{"transcr\x00'
WAITING: Final = 500  # messages; a stream has about three a second, so minutes of a slow rate


class StreamOver(Exception):  # noqa: N818 - the stream's end, not an error
    """The stream is over; the message says how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Something to be sent.

    Attributes:
        heard: A result; None: `event` is sent as it is.
        due_s: When, on the clock.
        delay_s: What was drawn for it, so that a slow rate can stretch it.
        last: The stream ends with it.
    """

    due_s: float
    delay_s: float
    heard: HeardAudio | None = None
    event: dict[str, Any] | None = None
    from_finalize: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramStream:
    """One open stream: the upgrade's request, its admission, the websocket."""

    request: web.Request
    admission: Admission
    ws: web.WebSocketResponse


class Sender:
    """Sends results in order, as the fault of the moment allows."""

    def __init__(self, instance: Instance, line: DeepgramStream, *, teller: Teller) -> None:
        self._instance = instance
        self._line = line
        self._admission = line.admission
        self._teller = teller
        self._ws = line.ws
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue(WAITING)
        self._final_words = 0
        self._shown_words = 0  # those in finals, and the most that interim results had beyond
        self._fault: Fault | None = None
        self._shown_before = 0  # when the present fault began
        self._finals: list[str] = line.admission.request.details.setdefault("finals", [])

    async def put(
        self,
        *,
        heard: HeardAudio | None = None,
        event: dict[str, Any] | None = None,
        since_s: float | None = None,
        from_finalize: bool = False,
        last: bool = False,
    ) -> None:
        """Queue something; it is due after the provider's delay, counted from `since_s` or now."""
        delay_s = self._instance.pace.ttfb_s()
        out = Outgoing(
            heard=heard,
            event=event,
            due_s=(monotonic() if since_s is None else since_s) + delay_s,
            delay_s=delay_s,
            from_finalize=from_finalize,
            last=last,
        )
        await self._queue.put(out)  # a full queue holds up the reading: the client feels it

    async def run(self) -> None:
        """Send until the stream is over.

        Raises:
            Over: It ended on our side.
        """
        while True:
            out = await self._queue.get()
            await self._wait(out)
            await self._send(out)
            await self.act()

    async def act(self) -> None:
        """Do at once what the present fault does to an open stream.

        Raises:
            Over: It ends the stream.
        """
        match self.fault():
            case faults.Cut(after_words=limit, how=how) if self._shown_since >= limit:
                await self._cut(how)
            case faults.ErrorEvent(status=status, code=code):
                await self._fail(status, code=code)
            case faults.Quota(where="event", code=code):
                await self._fail(402, code=code)
            case _:
                pass

    def fault(self) -> Fault | None:
        """Return the fault of the moment; words are counted from when it began."""
        fault = self._admission.fault_now()
        if fault != self._fault:
            self._fault = fault
            self._shown_before = self._shown_words
        return fault

    @property
    def _shown_since(self) -> int:
        return self._shown_words - self._shown_before

    async def _wait(self, out: Outgoing) -> None:
        left_s = self._left_s(out)
        while left_s > 0:  # step by step: a fault may be lifted meanwhile
            await asyncio.sleep(min(left_s, POLL_S))
            left_s = self._left_s(out)

    def _left_s(self, out: Outgoing) -> float:
        return out.due_s + self._added_s(out) - monotonic()

    def _added_s(self, out: Outgoing) -> float:
        match self.fault():
            case faults.SlowStart(delay_s=delay_s):
                return delay_s / self._instance.speed
            case faults.SlowRate(factor=factor):
                return out.delay_s * (1 / factor - 1)
            case _:
                return 0.0

    async def _send(self, out: Outgoing) -> None:
        match self.fault():
            case faults.Silent():
                await self._say_nothing(out)
            case faults.Garbage():
                await self._ws.send_str(GARBAGE)
            case faults.Alive() if out.heard is not None:
                await self._tell(dataclasses.replace(out, heard=_emptied(out.heard)))
            case faults.Stall(after_words=limit) if self._shown_since >= limit:
                await self._say_nothing(out)
            case faults.Cut(after_words=limit) | faults.Stall(after_words=limit) if out.heard:
                await self._tell_at_most(out, out.heard, limit=limit)
            case faults.Duplicate():
                await self._tell(out, times=2)
            case _:
                await self._tell(out)
        if out.last:
            await self._close(1000)
            raise StreamOver("done")

    async def _say_nothing(self, out: Outgoing) -> None:
        details = self._line.admission.request.details
        details["withheld"] = details.get("withheld", 0) + 1
        if out.last:  # a mute server does not say goodbye either
            while isinstance(self.fault(), faults.Silent | faults.Stall):  # noqa: ASYNC110 - by time
                await asyncio.sleep(POLL_S)
            await self._tell(out)

    async def _tell_at_most(self, out: Outgoing, heard: HeardAudio, *, limit: int) -> None:
        room = max(0, self._shown_before + limit - self._final_words)
        if len(heard.words) > room:  # the words that still fit, as a result that may yet change
            heard = dataclasses.replace(heard, words=heard.words[:room], what="interim")
        await self._tell(dataclasses.replace(out, heard=heard))

    async def _tell(self, out: Outgoing, *, times: int = 1) -> None:
        for _ in range(times):
            await self._ws.send_str(json.dumps(self._message(out), separators=(",", ":")))
        if out.heard is not None:
            self._count(out.heard)
        if out.from_finalize:
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("flushed", now_s, words=self._shown_words)

    def _message(self, out: Outgoing) -> dict[str, Any] | None:
        if out.heard is None:
            return out.event
        final = out.heard.what != "interim"
        return self._teller.results(out.heard, final=final, from_finalize=out.from_finalize)

    def _count(self, heard: HeardAudio) -> None:
        words = self._final_words + len(heard.words)
        self._shown_words = max(self._shown_words, words)
        if heard.what != "interim":
            self._final_words = words
            if heard.words:
                self._finals.append(" ".join(word.text for word in heard.words))

    async def _cut(self, how: str) -> None:
        if how == "reset":
            abort(self._line.request.transport)
        elif how == "close":
            await self._close(1000)
        else:
            await self._fail(500, code=None)
        raise StreamOver(f"cut: {how}")

    async def _fail(self, status: int, *, code: str | None) -> None:
        said = answer(status, code)
        message = error(description=said.text, message=said.code, variant="ServerError")
        await self._ws.send_str(json.dumps(message))
        await self._close(*CLOSE_SERVER)
        raise StreamOver(f"error: {said.code}")

    async def _close(self, code: int, reason: bytes = b"") -> None:
        await self._ws.close(code=code, message=reason)


def _emptied(heard: HeardAudio) -> HeardAudio:
    return dataclasses.replace(heard, words=())
