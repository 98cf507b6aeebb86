"""Detects who answered an outbound call, and keeps the greeting out of the conversation.

`AnswererWatch` is directly after the STT stage. Until a person is on the line, it withholds all
audio and words, because the agent must neither answer a mailbox nor say fillers in the pauses of a
menu. It has a speech detector of its own, and sends the STT stage the reports that the call's VAD
would send. When the conversation has begun, it delays no frame. `processors/answerer/decision.py`
makes the decisions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from pipecat.audio.vad.vad_analyzer import VADParams, VADState
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionWorkerFrame,
    StartFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup

from calls.entry import Emit
from calls.leg_events import AnswererHeard
from processors.answerer.answerer_rules import (
    AnsweringAction,
    AnsweringPlan,
    AnsweringRules,
    Decide,
    LeaveMessage,
    Open,
    PartFromMachine,
    SayWho,
    StopTalking,
)
from processors.answerer.decision import AnswererJudge
from processors.ladder.stage import Alarm
from processors.turn.floor import Away, Floor
from processors.turn.sound_path import SoundPath
from runtime.pcm import SAMPLE_BYTES

WINDOW_S: Final = 0.064  # 512 samples at 8 kHz: bins of 16 Hz keep 440 and 480 Hz apart
STEP_S: Final = 0.032  # between windows, which overlap by half
LOW_HZ: Final = 400.0  # mailboxes beep at 440 to 1400 Hz, most of them at 1000 (chosen bounds)
HIGH_HZ: Final = 2000.0
MIN_S: Final = 0.2  # a shorter tone is the echo of a key, or a steady vowel
MAX_BEEP_S: Final = 1.0  # a longer tone is a fax, or a faulty line
PURE: Final = 0.9  # least share of the energy in the peak and the adjacent bins (chosen)
RECORDER_HZ: Final = 1400.0  # the warning tone of a call recorder, about 0.2 s every 15 s
RECORDER_S: Final = 0.22  # the longest warning tone, with a margin for inexact devices
AUDIBLE_RMS: Final = 250.0  # of 32768, about -42 dBFS
DRIFT_HZ: Final = 35.0  # the greatest change between two windows of one tone
VOICEMAIL: Final = "voicemail"  # the reason in `CallEnded` after a message
_BESIDE: Final = 1  # bins on either side of the peak: a Hann window spreads a tone over them


class BeepDetector:
    """Detects the end of a beep in audio that arrives in pieces."""

    def __init__(self, rate_hz: int) -> None:
        """Create a detector that has heard nothing.

        Args:
            rate_hz: The line's sample rate; at least 8000, for a tone of 2000 Hz.
        """
        self._rate_hz = rate_hz
        self._step_bytes = round(STEP_S * rate_hz) * SAMPLE_BYTES
        self._size = round(WINDOW_S * rate_hz)
        self._shape = np.hanning(self._size)
        self._rest = b""
        self._windows = 0  # the length of the current tone, in steps between windows
        self._hz = 0.0  # its frequency

    def hear(self, pcm: bytes) -> bool:
        """Add audio.

        Return whether a beep ended in it. An incomplete window is kept for the next piece.

        Args:
            pcm: 16-bit mono.
        """
        sound, size_bytes = self._rest + pcm, self._size * SAMPLE_BYTES
        ended = False
        while len(sound) >= size_bytes:
            window, sound = sound[:size_bytes], sound[self._step_bytes :]
            ended = self._hear_window(np.frombuffer(window, "<i2").astype(np.float64)) or ended
        self._rest = sound
        return ended

    def _hear_window(self, samples: npt.NDArray[np.float64]) -> bool:
        """Return whether a tone that may be a beep ended before this window.

        Also measure the tone that begins or continues in it.
        """
        hz = self._tone_of(samples)
        steady = hz is not None and (not self._windows or abs(hz - self._hz) <= DRIFT_HZ)
        if hz is not None and steady:
            self._windows, self._hz = self._windows + 1, hz
            return False
        length_s = self._windows * STEP_S
        ended_hz = self._hz
        self._windows = 0 if hz is None else 1
        self._hz = hz or 0.0
        # The first and the last window of a tone contain some of the sound around it.
        from_recorder = abs(ended_hz - RECORDER_HZ) <= DRIFT_HZ and length_s <= RECORDER_S - STEP_S
        return not from_recorder and MIN_S - 2 * STEP_S <= length_s <= MAX_BEEP_S + STEP_S

    def _tone_of(self, samples: npt.NDArray[np.float64]) -> float | None:
        """Return the frequency of a window that is a single tone; `None` for anything else."""
        if np.sqrt(np.mean(np.square(samples))) < AUDIBLE_RMS:
            return None
        energy = np.square(np.abs(np.fft.rfft((samples - samples.mean()) * self._shape)))
        peak = int(energy.argmax())
        hz = peak * self._rate_hz / self._size
        near = energy[max(0, peak - _BESIDE) : peak + _BESIDE + 1]
        total = float(energy.sum())
        pure = total > 0 and float(near.sum()) / total >= PURE
        return hz if pure and LOW_HZ <= hz <= HIGH_HZ else None


class SpeechDetector(Protocol):
    """Detects speech, like a call's own Silero VAD."""

    @property
    def params(self) -> VADParams:
        """The delays of its decisions."""
        ...

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the line's sample rate."""
        ...

    async def analyze_audio(self, buffer: bytes) -> VADState:
        """Process a piece of audio, and return the state after it."""
        ...


class AnswererEar:
    """Detects speech and a mailbox's beep in a line's audio.

    Attributes:
        speaking: Whether there is speech now.
    """

    def __init__(self, speech: SpeechDetector) -> None:
        self.speaking = False
        self._speech = speech
        self._beeps: BeepDetector | None = None

    def prepare(self, rate_hz: int) -> None:
        """Set the line's sample rate, before any audio."""
        self._speech.set_sample_rate(rate_hz)
        self._beeps = BeepDetector(rate_hz)

    async def hear(self, pcm: bytes) -> bool:
        """Process a piece of audio, and update `speaking`; return whether speech began or ended."""
        state = await self._speech.analyze_audio(pcm)
        turned = state is (VADState.QUIET if self.speaking else VADState.SPEAKING)
        if turned:
            self.speaking = not self.speaking
        return turned

    def hear_beep(self, pcm: bytes) -> bool:
        """Process the same piece for tones; return whether a beep ended in it."""
        return self._beeps is not None and self._beeps.hear(pcm)

    @property
    def late_s(self) -> float:
        """How long the speech, or the silence, had lasted when it was detected."""
        params = self._speech.params
        return params.start_secs if self.speaking else params.stop_secs


class FirstWords:
    """The answerer's words before the conversation began; they are added to it later.

    Attributes:
        still_come: Whether transcripts still belong to the greeting, because there was no speech
            after it.
    """

    def __init__(self) -> None:
        self.still_come = True
        self._said: list[str] = []

    def keep(self, text: str) -> None:
        """Keep the transcript of an utterance, unless it is empty."""
        if text.strip():
            self._said.append(text.strip())

    def forget(self) -> None:
        """Forget the words of a call-screening assistant: a person may follow."""
        self._said.clear()

    def hand_over(self, remember: Callable[[str], None]) -> None:
        """Call `remember` with the words since the last call, if there are any."""
        said, self._said = self._said, []
        if said:
            remember(" ".join(said))


class AnswererWatch(SoundPath):
    """Detects who answered one outbound call.

    `wait_for_person` returns when a person is on the line.

    Attributes:
        judge: Decides who answered.
        ear: Detects speech and beeps.
        leaving: Whether a message for a mailbox is being spoken.
    """

    def __init__(
        self,
        plan: AnsweringPlan,
        *,
        say: Callable[[Frame], Awaitable[None]],
        end_call: Callable[[str], Awaitable[None]],
        floor: Floor,
        remember: Callable[[str], None],
        emit: Emit,
        clock: Callable[[], float],
        speech: SpeechDetector,
        rules: AnsweringRules | None = None,
    ) -> None:
        """Create the watch of one call.

        Args:
            plan: The words for machines.
            say: Sends a frame to the agent's voice.
            end_call: Ends the call after the current speech, with a reason for `CallEnded`.
            floor: The call's floor; this processor reports when there is a person.
            remember: Adds a person's first words to the conversation.
            emit: Publishes events.
            clock: Monotonic, in seconds.
            speech: A speech detector of its own.
            rules: The time limits; `None` for the defaults.
        """
        super().__init__()
        self.judge = AnswererJudge(rules or AnsweringRules(), leaves_message=bool(plan.message))
        self.ear = AnswererEar(speech)
        self._plan = plan
        self._say = say
        self._end_call = end_call
        self._floor = floor
        self._remember = remember
        self._emit = emit
        self._now = clock
        self._alarm = Alarm(clock)
        self._opened = asyncio.Event()
        self._first_words = FirstWords()
        self.leaving = False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Read the line's sample rate."""
        await super().setup(setup)
        self.ear.prepare(setup.audio_in_sample_rate)

    async def act(self, now: float) -> None:
        """Carry out the actions that are due by now."""
        await self._carry_out(self.judge.tick(now))

    async def wait_for_person(self) -> None:
        """Begin to listen, and wait until there is a person to greet.

        There is no time limit: while a machine is on the line, this does not return.
        """
        self.answered()
        await self._opened.wait()

    def answered(self) -> None:
        """Begin to listen: the call was answered. Until a person is found, the caller is away."""
        self._floor.set_away(Away.ANSWERER, away=True)
        now = self._now()
        self.judge.answered(now)
        if self.ear.speaking:  # speech that began before the answer counts from now on
            self.judge.voiced(now)
        self._alarm.ring()

    async def carrier_says(self, answerer: str) -> None:
        """Use the carrier's verdict on who answered; detection begins if it has not yet."""
        await self._carry_out(self.judge.carrier_says(answerer, self._now()))
        self._alarm.ring()

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Analyse audio during detection, and carry out what follows from it.

        The audio is passed on only if a conversation had begun before it.
        """
        withheld = self.judge.listens  # before the analysis, which may begin the conversation
        if not self.judge.over:
            now = self._now()
            if await self.ear.hear(frame.audio):
                await self._note_voice(now)
            if self.ear.hear_beep(frame.audio):
                await self._carry_out(self.judge.beep(now))
            self._alarm.ring()
        if not withheld:
            await self.hand_on(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Withhold audio and words before a conversation; pass everything else on.

        Final transcripts that were withheld are kept, and handed over when a conversation begins.
        After a message for a mailbox, the call is ended.
        """
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                await self.hear_sound(frame)
                return
            case TranscriptionFrame() | InterimTranscriptionFrame():
                if await self.read(frame):
                    await self.push_frame(frame, direction)
                return
            case StartFrame():
                self._alarm.start(self, lambda: self.judge.wake_at, self.act)
            case EndFrame() | CancelFrame():
                await self._alarm.stop()
            case BotStoppedSpeakingFrame() if self.leaving:
                self.leaving = False
                await self._end_call(VOICEMAIL)
            case VADUserStartedSpeakingFrame() if not self.judge.listens:
                self._first_words.still_come = False
            case _:
                pass
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop the timer."""
        await super().cleanup()
        await self._alarm.stop()

    async def _note_voice(self, now: float) -> None:
        """Record that speech began or ended; before a conversation, report it to the STT stage.

        The call's own VAD, which reports it later, gets no audio before a conversation.
        """
        if self.ear.speaking:
            self.judge.voiced(now - self.ear.late_s)
            report = VADUserStartedSpeakingFrame()
        else:
            self.judge.silent(now - self.ear.late_s)
            report = VADUserStoppedSpeakingFrame()
        if self.judge.listens:
            await self.push_frame(report, FrameDirection.UPSTREAM)

    async def read(self, frame: TranscriptionFrame | InterimTranscriptionFrame) -> bool:
        """Read a transcript; return whether it belongs to the conversation.

        The words of a greeting are kept, or added to a conversation that has begun meanwhile. Until
        the decision is made, it also reads the words, and its actions are carried out.
        """
        withheld = self.judge.listens or self._first_words.still_come
        final = isinstance(frame, TranscriptionFrame)
        if withheld and final:
            self._first_words.keep(frame.text)
        if not self.judge.over:
            await self._carry_out(self.judge.words(frame.text, self._now(), final=final))
            self._alarm.ring()  # not in `act`, where the alarm would wake itself forever
        if self._opened.is_set() and not self.judge.listens:  # a late transcript
            self._first_words.hand_over(self._remember)
        return not withheld

    async def _carry_out(self, actions: Sequence[AnsweringAction]) -> None:
        """Carry out the actions in order; a message for a mailbox is sent, not waited for.

        A person's arrival releases the withheld words and sets `_opened`; other actions say
        something, stop our speech, or end the call.
        """
        for action in actions:
            match action:
                case Decide():
                    self._emit(_event_of(action))
                case Open():
                    self._floor.set_away(Away.ANSWERER, away=False)
                    self._first_words.hand_over(self._remember)
                    self._opened.set()
                case SayWho():
                    self._first_words.forget()
                    await self._say(TTSSpeakFrame(self._plan.who))
                case StopTalking():
                    await self.push_frame(InterruptionWorkerFrame(), FrameDirection.UPSTREAM)
                    self._floor.set_away(Away.ANSWERER, away=True)
                case LeaveMessage():
                    self._floor.set_away(
                        Away.ANSWERER, away=False
                    )  # if no voice can speak, the silence ends the call
                    self.leaving = True
                    await self._say(_uninterruptible_speech(self._plan.message))
                case PartFromMachine():
                    await self._end_call(action.answerer.value)


def _event_of(action: Decide) -> AnswererHeard:
    """Return the event that reports a decision."""
    return AnswererHeard(
        answerer=action.answerer.value,
        why=action.why,
        after_s=action.after_s,
        revised=action.revised,
    )


def _uninterruptible_speech(text: str) -> TTSSpeakFrame:
    """Return speech that no barge-in interrupts."""
    speech = TTSSpeakFrame(text)
    speech.interruptible = False
    return speech
