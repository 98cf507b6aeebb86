"""One stream of a simulated recogniser: audio and requests in, results and faults out.

A vendor's simulator has a `RecogniserDialect`: its messages, and what a client may say. Results,
delays and faults are the same for all.
"""

import asyncio
import dataclasses
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias

from aiohttp import WSMsgType, web

from lab.simulators import faults
from lab.simulators.admission import POLL_S, Admission
from lab.simulators.clock import monotonic
from lab.simulators.deepgram.sender import ShownWords, StreamOver
from lab.simulators.ears.ears import Ears, EarsError
from lab.simulators.ears.heard import HeardAudio, HearingSettings
from lab.simulators.ears.known import KnownEars
from lab.simulators.instance import Core, Instance
from lab.simulators.pace import Tempo
from lab.simulators.server import abort

GARBAGE: Final = '{"words": [{"tex\x00'
MESSAGE_BYTES: Final = 4 << 20  # of one websocket message (chosen)
QUEUED_MESSAGES: Final = 500
BYTES_A_SAMPLE: Final = 2

Message: TypeAlias = str | Mapping[str, Any]
"""A message: a mapping is sent as JSON."""

Said: TypeAlias = Literal["finish", "end", "ignore", "unknown"]
"""The requests of a client's text messages."""


class RecogniserDialect(ABC):
    """The messages of one stream."""

    @abstractmethod
    def opening(self) -> Sequence[Message]:
        """Return the messages that are sent as soon as the stream opens."""

    @abstractmethod
    def results(self, heard: HeardAudio, *, asked: bool) -> Sequence[Message]:
        """Return the messages for a result; `asked`: it answers a request to finish."""

    @abstractmethod
    def error(self, status: int, code: str | None) -> Message:
        """Return the message of an error, after which the stream is closed."""

    @abstractmethod
    def said(self, text: str) -> Said:
        """Return what a client's message asks for."""

    @abstractmethod
    def closing(self) -> Sequence[Message]:
        """Return the messages that answer the end of the audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingResult:
    """A result to send when it is due, or messages as they are."""

    due_s: float
    delay_s: float
    heard: HeardAudio | None = None
    messages: tuple[Message, ...] = ()
    asked: bool = False
    last: bool = False


class RecogniserInstance(Instance):
    """A simulated recogniser; a vendor's subclass admits a request and makes its dialect."""

    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.1,
        spread=0.25,
        rate=1.0,  # unused: results follow the audio
        source="Pipecat's stt_latency.py: 0.35 to 0.42 s p99 from the end of speech, with 0.2 s of"
        " its detector's",
    )
    path: ClassVar[str] = "/"
    endpoint_s: ClassVar[float | None] = None  # silence that makes results final without a request

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        core: Core | None = None,
        grammar: Sequence[str] = (),
    ) -> None:
        """Create an account; `grammar` are the only phrases to recognise, if there are any."""
        core = core or Core()
        super().__init__(name, api_key=api_key, core=core)
        self._grammar = tuple(grammar)
        self._ears: Ears | KnownEars = core.ears or Ears()

    def routes(self) -> list[web.RouteDef]:
        """Return the websocket's route."""
        return [web.get(self.path, self._serve_stream)]

    @property
    def url(self) -> str:
        """The websocket's address."""
        return f"{self.server.base_url('ws')}{self.path}"

    async def stop(self) -> None:
        """Stop the server and the recogniser."""
        await super().stop()
        await self._ears.stop()

    async def open(
        self, request: web.Request, admission: Admission, ws: web.WebSocketResponse
    ) -> tuple[RecogniserDialect, int]:
        """Return a stream's dialect, and the rate of its audio.

        Raises:
            StreamOver: The client asks for what the vendor would refuse.
        """
        raise NotImplementedError

    async def _serve_stream(self, request: web.Request) -> web.StreamResponse:
        """Serve a stream; one that the vendor refuses is recorded as malformed."""
        admission = await self.admit(request)
        ws = web.WebSocketResponse(compress=False, max_msg_size=MESSAGE_BYTES, timeout=1.0)
        await ws.prepare(request)
        try:
            dialect, rate_hz = await self.open(request, admission, ws)
        except StreamOver as over:
            admission.mark_malformed(str(over))
            admission.close(str(over))
            return ws
        settings = HearingSettings(
            rate_hz=rate_hz, endpoint_s=self.endpoint_s, grammar=self._grammar
        )
        stream = RecogniserSocket(self, request, admission, ws, dialect)
        await stream.run(settings, self._ears)
        return ws


class RecogniserSocket:
    """Serves one stream."""

    def __init__(
        self,
        instance: RecogniserInstance,
        request: web.Request,
        admission: Admission,
        ws: web.WebSocketResponse,
        dialect: RecogniserDialect,
    ) -> None:
        self._instance = instance
        self._request = request
        self._admission = admission
        self._ws = ws
        self._dialect = dialect
        self._queue: asyncio.Queue[OutgoingResult] = asyncio.Queue(QUEUED_MESSAGES)
        self._requests: deque[float] = deque()
        self._shown = ShownWords()
        self._finals: list[str] = admission.request.details.setdefault("finals", [])
        self._ears: Any = None
        self._ended = False

    async def run(self, settings: HearingSettings, ears: Ears | KnownEars) -> None:
        """Serve it until one side ends it."""
        self._ears = await ears.open(settings)
        await self._queue_outgoing(messages=tuple(self._dialect.opening()))
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (
                    self._receive_messages,
                    self._queue_results,
                    self._send_queue,
                    self._apply_faults,
                ):
                    tasks.create_task(part())
        except* StreamOver as ends:
            self._admission.close(str(ends.exceptions[0]))
        except* ConnectionError:
            self._admission.close("connection gone")
        finally:
            await self._ears.close()

    async def _receive_messages(self) -> None:
        """Take the client's messages; raise `StreamOver` when the client closes the stream."""
        while True:
            message = await self._ws.receive()
            match message.type:
                case WSMsgType.BINARY if message.data:
                    await self._ears.hear(message.data)
                case WSMsgType.BINARY:
                    await self._obey_message("end")
                case WSMsgType.TEXT:
                    await self._obey_message(self._dialect.said(message.data))
                case WSMsgType.CLOSING:
                    return
                case _:
                    raise StreamOver(f"closed by the client: {self._ws.close_code}")

    async def _obey_message(self, said: Said) -> None:
        """Ask for a final result, after which the stream may end; record what is not understood."""
        match said:
            case "finish" | "end":
                self._ended = said == "end"
                self._requests.append(monotonic())
                self._admission.request.mark("flush", self._instance.gate.now_s())
                await self._ears.flush()
            case "unknown":
                self._admission.mark_malformed("a message that is not understood")
            case "ignore":
                pass

    async def _queue_results(self) -> None:
        """Queue the results, and the end after the last one; raise `StreamOver` if they fail."""
        try:
            async for heard in self._ears.results():
                match heard.what:
                    case "interim" | "final":
                        await self._queue_outgoing(heard=heard)
                    case "flushed":
                        await self._queue_outgoing(
                            heard=heard, asked=True, since_s=self._requests.popleft()
                        )
                        if self._ended:
                            await self._queue_outgoing(
                                messages=tuple(self._dialect.closing()), last=True
                            )
                    case _:
                        pass
        except EarsError as wrong:
            raise StreamOver(str(wrong)) from wrong

    async def _queue_outgoing(self, *, since_s: float | None = None, **what: Any) -> None:
        """Queue a result or messages; due after the provider's delay, from `since_s` or now."""
        delay_s = self._instance.pace.ttfb_s()
        due_s = (monotonic() if since_s is None else since_s) + delay_s
        await self._queue.put(OutgoingResult(due_s=due_s, delay_s=delay_s, **what))

    async def _send_queue(self) -> None:
        """Send what is queued when it is due; a fault may change the delay meanwhile."""
        while True:
            out = await self._queue.get()
            while (left_s := out.due_s + self._added_s(out) - monotonic()) > 0:  # noqa: ASYNC110 - the fault may change
                await asyncio.sleep(min(left_s, POLL_S))
            await self._send_now(out)
            await self._apply_fault()

    def _added_s(self, out: OutgoingResult) -> float:
        """Return how much later than usual a result is due under the current fault."""
        match self._current_fault():
            case faults.SlowStart(delay_s=delay_s):
                return delay_s / self._instance.speed
            case faults.SlowRate(factor=factor):
                return out.delay_s * (1 / factor - 1)
            case _:
                return 0.0

    def _current_fault(self) -> faults.Fault | None:
        """Return the fault of this moment, and tell it to `_shown`, which counts words under it."""
        return self._shown.note_fault(self._admission.fault_now())

    async def _send_now(self, out: OutgoingResult) -> None:
        """Send a result as the fault allows, or drop it; close the stream after the last one."""
        fault = self._current_fault()
        mute = isinstance(fault, faults.Silent) or (
            isinstance(fault, faults.Stall) and self._shown.since_fault >= fault.after_words
        )
        if mute:
            return
        if isinstance(fault, faults.Garbage):
            await self._ws.send_str(GARBAGE)
            return
        await self._send_messages(
            self._within_fault(out, fault), times=1 + isinstance(fault, faults.Duplicate)
        )
        if out.last:
            await self._ws.close(code=1000)
            raise StreamOver("done")

    def _within_fault(self, out: OutgoingResult, fault: faults.Fault | None) -> OutgoingResult:
        """Return a result with the words that the fault allows."""
        heard = out.heard
        match fault:
            case faults.Alive() if heard:
                return dataclasses.replace(out, heard=_first_words(heard, 0))
            case faults.Cut(after_words=limit) | faults.Stall(after_words=limit) if heard:
                room = self._shown.room(limit)
                if len(heard.words) > room:  # the words that still fit, as an interim result
                    shown = dataclasses.replace(_first_words(heard, room), what="interim")
                    return dataclasses.replace(out, heard=shown, asked=False)
            case _:
                pass
        return out

    async def _send_messages(self, out: OutgoingResult, *, times: int = 1) -> None:
        """Send messages now, each `times` times, and count the words once."""
        messages = list(out.messages)
        if out.heard is not None:
            messages += self._dialect.results(out.heard, asked=out.asked)
        for message in messages:
            for _ in range(times):
                await self._send_message(message)
        if out.heard is not None:
            self._shown.add(out.heard)
            if out.heard.what != "interim" and out.heard.words:
                self._finals.append(" ".join(word.text for word in out.heard.words))
        if out.asked:
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("flushed", now_s, words=self._shown.words)

    async def _apply_faults(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._apply_fault()

    async def _apply_fault(self) -> None:
        """Raise `StreamOver` if the current fault ends the stream, after ending it that way."""
        match self._current_fault():
            case faults.Cut(after_words=limit, how=how) if self._shown.since_fault >= limit:
                if how == "reset":
                    abort(self._request.transport)
                elif how == "close":
                    await self._ws.close(code=1000)
                else:
                    await self._send_error_and_close(503, None)
                raise StreamOver(f"cut: {how}")
            case faults.ErrorEvent(status=status, code=code):
                await self._send_error_and_close(status, code)
                raise StreamOver(f"error: {status}")
            case faults.Quota(where="event", code=code):
                await self._send_error_and_close(self._instance.no_credit[0], code)
                raise StreamOver("quota")
            case _:
                pass

    async def _send_error_and_close(self, status: int, code: str | None) -> None:
        """Send the vendor's error, and close the stream."""
        await self._send_message(self._dialect.error(status, code))
        await self._ws.close(code=1008 if status < 500 else 1011)

    async def _send_message(self, message: Message) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self._ws.send_str(text)


def _first_words(heard: HeardAudio, words: int) -> HeardAudio:
    return dataclasses.replace(heard, words=heard.words[:words])
