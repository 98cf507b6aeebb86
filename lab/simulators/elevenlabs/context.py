"""One ElevenLabs context: texts in, audio with character times out, in order.

Source: ElevenLabs API reference (multi-context websocket), elevenlabs-python's wire types.
"""

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.elevenlabs.account import ElevenLabsAccount
from lab.simulators.elevenlabs.channel import ElevenLabsChannel, Outlet
from lab.simulators.voices.speaking import LabUtterance, UtteranceOver, spoken_text
from lab.simulators.voices.voices import SimulatedVoice, Speech, UnknownLanguageError, speak

CHUNK_SCHEDULE: Final = (120, 160, 250, 290)  # characters before audio, without auto_mode
INBOX: Final = 1000  # messages in a context's queue; further ones are refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevenLabsInput:
    """A message to a context."""

    text: str = ""
    flush: bool = False
    close: bool = False


class ElevenLabsOutlet(Outlet, Protocol):
    """The interface of a context's socket."""

    voice: SimulatedVoice
    plan: ElevenLabsAccount

    async def forget(self, context: "ElevenLabsContext") -> None:
        """Drop a context that is over."""
        ...


class ElevenLabsContext:
    """One piece of speech on a socket."""

    def __init__(
        self, line: ElevenLabsOutlet, name: str, *, admission: Admission, settings: Any
    ) -> None:
        self.name = name
        self.settings = settings
        self._line = line
        self._admission = admission
        self.over = False  # the client may open another context with this id
        self._closed = False
        self._channel = ElevenLabsChannel(line, name)
        self._utterance = LabUtterance(line.instance, admission, self._channel)
        self._inbox: asyncio.Queue[ElevenLabsInput] = asyncio.Queue(maxsize=INBOX)
        self._schedule = itertools.chain(CHUNK_SCHEDULE, itertools.repeat(CHUNK_SCHEDULE[-1]))
        self._wanted = next(self._schedule)
        self._text = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start speaking, as a task of the socket."""
        self._task = tasks.create_task(self._run(), name=f"context {self.name}")

    def stop(self) -> None:
        """End at once: the socket is gone."""
        if self._task is not None and not self._channel.closing:
            self._task.cancel()

    def put(self, given: ElevenLabsInput) -> bool:
        """Queue a message; return False if there are too many."""
        if self._inbox.full():
            return False
        if self._closed:  # messages after close_context are ignored
            return True
        self._closed = given.close
        self._inbox.put_nowait(given)
        request = self._admission.request
        request.details["language"] = self._line.format.language
        request.details["text"] = request.details.get("text", "") + given.text
        request.mark("text", self._line.instance.gate.now_s(), words=len(given.text.split()))
        return True

    async def _run(self) -> None:
        last: Speech | None = None
        try:
            last = await self._speak()
            self._admission.close("done")
        except (UtteranceOver, ConnectionError):
            self._admission.close("connection gone")
        except UnknownLanguageError as unknown:
            self._admission.mark_malformed(str(unknown))
            await self._channel.refuse("invalid_parameters", message=str(unknown))
        finally:
            self._admission.close("connection gone")
        try:
            await self._late(last)
            await self._line.forget(self)
        except ConnectionError:
            return

    async def _speak(self) -> Speech | None:
        closed, spoken = False, None
        while not closed:
            fresh = self._inbox.empty()
            text, closed = await self._portion()
            if text.strip():
                spoken = await self._say(text, fresh=fresh or not self._utterance.begun)
        fault = self._admission.fault_now()
        self.over = True
        if fault != faults.Mistaken(what="no_final"):
            await self._channel.final(fault)
        return spoken

    async def _late(self, last: Speech | None) -> None:
        fault = self._admission.fault_now()
        if last is not None and isinstance(fault, faults.LateAfterCancel):
            await self._utterance.repeat(last, for_s=fault.delay_s)

    async def _say(self, text: str, *, fresh: bool) -> Speech:
        refused = await self._line.plan.begin(len(text))
        if refused is not None:
            await self._channel.refuse(refused)
            raise UtteranceOver
        try:
            speech = await speak(
                spoken_text(text, self._admission.fault_now()),
                voice=self._line.voice.faster(float((self.settings or {}).get("speed") or 1.0)),
                rate_hz=self._line.format.rate_hz,
                language=self._line.format.language,
            )
            await self._utterance.say(speech, fresh=fresh)
        finally:
            self._line.plan.end()
        return speech

    async def _portion(self) -> tuple[str, bool]:
        """Return the next text and whether it is the last; 20 s without a message also close."""
        while True:
            try:
                async with asyncio.timeout(self._line.format.inactivity_s):
                    given = await self._inbox.get()
            except TimeoutError:
                return "", True
            self._text += given.text
            if given.flush or self._enough():
                text, self._text = self._text, ""
                return self._joined(text), given.close
            if given.close:  # unflushed text is dropped
                return "", True

    def _enough(self) -> bool:
        if self._line.format.auto:
            return bool(self._text.strip())
        if len(self._text) < self._wanted:
            return False
        self._wanted = next(self._schedule)
        return True

    def _joined(self, text: str) -> str:
        """Return a flash model's text after the first, with a leading blank if it has none."""
        return text if text[:1].isspace() or not self._utterance.begun else f" {text}"
