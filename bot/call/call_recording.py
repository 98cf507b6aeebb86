"""Records both sides of a call, from the agent's first word, if the configuration says so.

Nothing is written to disk until the caller has heard that the call is recorded. A thread writes
once a second. A disk that is too slow ends the recording, never the call.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loguru import logger

from calls.entry import Emit
from calls.events import AgentSaid, CallRecorded, Event
from calls.stereo import Stereo
from configuration.agent import AgentSettings
from configuration.settings import Settings
from operations.record.voicemails import MessageFile
from runtime.clock import Clock
from transports.leg import Leg

RECORDINGS: Final = "recordings"  # in `logs.dir`
WRITE_EVERY_S: Final = 1.0
HELD_S: Final = 40.0  # of audio, at most, that waits in memory for the notice or for the disk
FRAME_BYTES: Final = 4  # a 16-bit sample of each side
CHANNELS: Final = 2


class CallRecording:
    """The recording of one call."""

    def __init__(
        self,
        path: Path,
        *,
        rate_hz: int,
        notice: str,
        machine: str = "",
        clock: Callable[[], float],
        said_before: str = "",
        hides: Callable[[], bool] = lambda: False,
    ) -> None:
        """Create the recording of a call, but no file yet.

        Args:
            path: The wav file.
            rate_hz: The sample rate of both sides.
            notice: The words that the caller must hear first.
            machine: The name of this machine; may be empty.
            clock: Monotonic, in seconds.
            said_before: What the agent had said before the call was resumed here.
            hides: Returns whether a sensitive section is open, which is recorded as silence.
        """
        self._path, self._machine = path, machine
        self._clock = clock
        self._hides = hides
        self._stereo = Stereo(rate_hz)
        self._most_bytes = round(HELD_S * rate_hz) * FRAME_BYTES
        self._notice = words_of(notice)
        self._said = words_of(said_before)  # the agent's words, until they contain the notice
        self.has_earlier_notice = contains(self._said, self._notice)
        """Whether the caller heard the notice before the call was resumed here."""
        self._notice_heard = False  # true once `note` has found the notice
        self._agent_has_spoken = False
        self._lost = False
        self._written_at = 0.0
        self._file: MessageFile | None = None
        self._writing: asyncio.Future[None] | None = None

    def hear_caller(self, pcm: bytes) -> None:
        """Record a piece of the caller's audio, once the agent has spoken; never waits.

        `pcm` is 16-bit mono at the line's rate. A due write begins in a thread.
        """
        if self._agent_has_spoken and not self._lost:
            self._stereo.hear_caller(self._silenced_if_hidden(pcm), self._clock())
            self._write_if_due()

    def hear_agent(self, pcm: bytes) -> None:
        """Record a piece of what the caller hears, in the same form as the caller's; never waits.

        The first piece begins the recording of both sides.
        """
        self._agent_has_spoken = True
        if not self._lost:
            self._stereo.hear_agent(self._silenced_if_hidden(pcm), self._clock())
            self._write_if_due()

    def _silenced_if_hidden(self, pcm: bytes) -> bytes:
        """Return audio, or as much silence while the call takes a card number or the like."""
        return bytes(len(pcm)) if self._hides() else pcm

    def note(self, event: Event) -> CallRecorded | None:
        """Follow the call's events; return `CallRecorded` for the one that completes the notice.

        `None` for every other event, also after that, and if the recording is lost.
        """
        if self._notice_heard or self._lost or not isinstance(event, AgentSaid):
            return None
        self._said += words_of(event.text)
        if not contains(self._said, self._notice):
            return None
        self._notice_heard = True
        return CallRecorded(path=str(self._path), machine=self._machine)

    async def close(self) -> None:
        """Write the rest of the recording, unless it ended early or the notice was not heard."""
        if self._writing:
            await self._writing
        if self._notice_heard and not self._lost:
            rest = self._stereo.take_all()
            await asyncio.to_thread(self._append_audio, rest)
            await asyncio.to_thread(self._finish_file)
        elif self._agent_has_spoken and not self._notice_heard:
            logger.warning("a call was not recorded: the caller did not hear the notice")
        if self._lost and self._file:
            await asyncio.to_thread(self._file.leave)

    def _write_if_due(self) -> None:
        """Begin a write if the last one is done and was begun `WRITE_EVERY_S` ago or earlier.

        If `HELD_S` of audio wait in memory, the recording ends instead.
        """
        if self._stereo.waiting_bytes > self._most_bytes:
            self._stop_recording(
                "the disk does not keep up" if self._notice_heard else "no notice was heard"
            )
            return
        now = self._clock()
        busy = self._writing is not None and not self._writing.done()
        if self._notice_heard and not busy and now >= self._written_at + WRITE_EVERY_S:
            self._written_at = now
            sound = self._stereo.take(now)
            loop = asyncio.get_running_loop()
            self._writing = loop.run_in_executor(None, self._append_audio, sound)

    def _append_audio(self, sound: bytes) -> None:
        """Append audio to the file, in a thread; an error of the disk ends the recording."""
        try:
            if self._lost:
                return
            if self._file is None:
                self._file = MessageFile(
                    self._path, rate_hz=self._stereo.rate_hz, channels=CHANNELS
                )
            self._file.add(sound)
        except OSError as error:
            self._stop_recording(error.strerror or type(error).__name__)

    def _finish_file(self) -> None:
        """Complete the file, if one was begun; an error of the disk is logged."""
        try:
            if self._file:
                self._file.finish()
        except OSError as error:
            self._stop_recording(error.strerror or type(error).__name__)

    def _stop_recording(self, why: str) -> None:
        """Stop recording and drop what is not written; the thread checks this before each write."""
        if not self._lost:
            logger.error("a recording ends early: {}", why)
        self._lost = True
        self._stereo = Stereo(self._stereo.rate_hz)


def make_recording(
    agent: AgentSettings,
    leg: Leg,
    settings: Settings,
    *,
    call_id: str,
    clock: Clock,
    hides: Callable[[], bool],
) -> CallRecording | None:
    """Return a recording of the call into the folder of logs; `None` if none is configured."""
    if not agent.recording.enabled:
        return None
    earlier_state = leg.before
    earlier_answers = [
        message.get("content")
        for message in (earlier_state.messages if earlier_state else ())
        if message.get("role") == "assistant"
    ]
    # A resumed call already has a file, from an earlier process.
    name = f"{call_id}-{earlier_state.entries}" if earlier_state else call_id
    return CallRecording(
        settings.logs.dir / RECORDINGS / f"{name}.wav",
        rate_hz=leg.facts.sample_rate_hz,
        notice=agent.recording.notice,
        machine=settings.server.machine or "",
        clock=clock,
        said_before=" ".join(text for text in earlier_answers if isinstance(text, str)),
        hides=hides,
    )


def emit_to_recording(emit: Emit, recording: CallRecording) -> Emit:
    """Return an `emit` that also passes each event to the recording, and adds `CallRecorded`.

    `CallRecorded` follows the event that shows that the caller has heard the notice.
    """

    def emit_and_note(event: Event) -> None:
        emit(event)
        recorded = recording.note(event)
        if recorded:
            emit(recorded)

    return emit_and_note


def words_of(text: str) -> list[str]:
    """Return a text's words for comparison: case-folded, without punctuation."""
    plain = "".join(item if item.isalnum() else " " for item in text.casefold())
    return plain.split()


def contains(words: list[str], phrase: list[str]) -> bool:
    """Return whether the words of `phrase` follow each other in `words`."""
    size = len(phrase)
    return any(words[at : at + size] == phrase for at in range(len(words) - size + 1))
