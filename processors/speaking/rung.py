"""One rung of the TTS stage: its connection, its requests, and its voice's events.

An attempt fails at once if the rung is known to be unreachable, and waits briefly if it is
connecting. A lost connection is restored in the background, with repeated tries. A cold standby is
set up when it is first asked.
"""

from collections.abc import Callable
from typing import cast

from pipecat.frames.frames import (
    AggregatedTextFrame,
    ErrorFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    MetricsFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTSUsageMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.utils.text.base_text_aggregator import TextType

from calls.voice import ATTEMPT, Voice
from fallbacks.attempt_events import Dropped, Failed, Finished, Paused, Resumed
from fallbacks.classification import classify_error
from fallbacks.failure import Failure, Kind, failed
from fallbacks.lag import Lag
from fallbacks.retrying import Backoff
from fallbacks.tts_times import COLD_CONNECT_S, CONNECT_S
from processors.ladder.gate import Seat
from processors.ladder.rung_pipeline import STOP_S, RungPipeline
from processors.ladder.stage import Reconnector, Rung, Stage
from processors.speaking.ledger_rules import SoundCame, WordTimed
from processors.speaking.pcm import Pieces, quiet_end
from processors.speaking.speech_actions import AskVoice, VoiceEvent


class Connection:
    """The state of a rung's connection.

    Attributes:
        up: Whether it is open.
        cold: Whether it is being opened for the first time, or again at our request; an attempt
            waits longer then.
        settling: Whether new settings were sent, after which the service may reconnect.
    """

    def __init__(self, provider: str, *, lag: Lag | None = None) -> None:
        self.up = False
        self.cold = False
        self.settling = False
        self._provider = provider
        self._lag = lag or Lag()
        self._connecting_at: float | None = None  # when it began, on the provider's clock
        self._failure: Failure | None = None  # of the last try to connect
        self._reported = False  # an attempt got that failure

    @property
    def is_connecting(self) -> bool:
        """Whether it is being opened."""
        return self._connecting_at is not None

    def report_hang(self) -> Failure:
        """Return the failure of an attempt that waited too long, in place of the try's own one.

        The try's own failure is then not reported as well.
        """
        self._reported = True
        reason = "no connection in time"
        return failed(Kind.TIMEOUT, "tts", provider=self._provider, reason=reason)

    def began(self, now: float) -> None:
        """Record that it is being opened.

        After new settings, an attempt waits for it as long as for a first connection.
        """
        self._connecting_at, self.up = self._lag.provider_s(now), False
        self._reported = False
        if self.settling:  # at our request, so an attempt waits as for a first connection
            self.cold, self.settling = True, False

    def made(self, *, waited_for: bool) -> None:
        """Record that it is open; `waited_for` if an attempt waits for it."""
        self._connecting_at, self.up, self._failure = None, True, None
        self.cold = self.cold and waited_for

    def refused(self, failure: Failure, *, waited_for: bool) -> None:
        """Record why it cannot be opened; `waited_for` if an attempt gets the failure at once."""
        self._connecting_at, self.up, self._failure = None, False, failure
        self._reported = self._reported or waited_for
        self.cold = False

    def lost(self) -> None:
        """Record that it is lost: an attempt waits for a new one, and does not fail at once."""
        self._connecting_at, self.up, self._failure = None, False, None

    def report_failure(self, now: float) -> Failure | None:
        """Return why an attempt fails at once; `None` if it should wait for the connection.

        The failure of a try to connect is returned once, so that another rung can speak at once. A
        further attempt means that no other rung is left, and one failed try must not count twice:
        so that attempt waits for a new try.
        """
        if self._connecting_at is not None:
            hangs = self.wait_until_s(now) <= self._lag.provider_s(now)
            return self.report_hang() if hangs else None
        failure = None if self._reported else self._failure
        self._reported = self._reported or failure is not None
        return failure

    def wait_until_s(self, now: float) -> float:
        """Return until when an attempt may wait for the connection, on the provider's clock."""
        begun_at = self._connecting_at
        return (self._lag.provider_s(now) if begun_at is None else begun_at) + self._patience_s

    @property
    def _patience_s(self) -> float:
        return COLD_CONNECT_S if self.cold else CONNECT_S


class VoiceRung(Rung):
    """A voice, as the TTS stage uses it; as its `VoiceEar`, it reports the voice's events.

    Attributes:
        connection: The state of its connection.
        reconnector: Restores the connection.
        rate_hz: The sample rate of the audio.
    """

    def __init__(
        self,
        name: str,
        service: FrameProcessor,
        *,
        stage: Stage[VoiceEvent],
        speaker: Callable[[], str | None],
        seat: Seat,
        lag: Lag,
    ) -> None:
        """Put a service that is also a `calls.voice.Voice` into its own pipeline.

        Args:
            name: The rung's name.
            service: The voice.
            stage: Receives its events.
            speaker: Returns the rung in use, whose metrics are passed on.
            seat: This call's place at the rung.
            lag: Our own stalls.
        """
        pipe = RungPipeline(name, service, output=self._pass_on, on_ready=self._is_ready)
        super().__init__(pipe, seat=seat)
        self.connection = Connection(name, lag=lag)
        self._lag = lag
        self._due_s: float | None = None  # `due_at` on the provider's clock
        self.rate_hz = 0
        self._stage = stage
        self._speaker = speaker
        self._pieces = Pieces(0)
        self._pieces_of: int | None = None  # the attempt that `_pieces` belongs to
        self._voice = cast("Voice", service)
        self._waiting: list[Frame] = []
        self.reconnector = Reconnector(
            name, self._reconnect_voice, clock=stage.now, backoff=Backoff(retries_itself=True)
        )
        self._voice.listen(self)

    @property
    def due_at(self) -> float | None:
        """Until when the attempt waits for the connection; `None` if it does not wait."""
        return None if self._due_s is None else self._lag.moment_of(self._due_s)

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> None:
        """Store what `open` needs, and the sample rate."""
        super().setup(owner, setup)
        self.rate_hz = setup.audio_out_sample_rate

    async def speak(self, ask: AskVoice) -> Dropped | Failed | Paused | None:
        """Start an attempt, now or when the rung is connected; return its first event, if any.

        It is dropped if there is no place for this call, fails if the last try to connect failed or
        hangs, and is paused while a cold connection is opened.
        """
        attempt = ask.attempt
        if not self.opened:
            if not self.open():
                return Dropped(attempt=attempt, because="limit")
            self.connection.cold = True
        start = LLMFullResponseStartFrame()
        start.metadata[ATTEMPT] = attempt
        end = [LLMFullResponseEndFrame()] if ask.closed else []
        self.attempt, self._due_s = attempt, None
        self._waiting = [start, _text_frame(ask.rest), *end]
        if self.connection.up and not self.pipe.service.is_usable:
            self.connection.lost()  # Pipecat no longer uses the connection
        if await self.send_waiting_frames():
            return None
        now = self._stage.now()
        if failure := self.connection.report_failure(now):
            self.forget_attempt()
            return Failed(attempt=attempt, failure=failure, without_lag=True)
        self._due_s = self.connection.wait_until_s(now)
        if self.connection.cold:
            return Paused(attempt=attempt)
        if not self.connection.is_connecting:
            self.reconnector.start_reconnecting(self._stage)
            self.reconnector.hurry()
        return None

    async def add(self, sentence: str) -> None:
        """Give the voice another sentence, after the text that waits for the connection."""
        await self._send_or_hold(_text_frame(sentence))

    async def end_text(self) -> None:
        """Tell the voice that no sentence follows."""
        await self._send_or_hold(LLMFullResponseEndFrame())

    async def mute(self) -> None:
        """End the attempt; if the voice has got its text, stop the voice."""
        sent = self.attempt is not None and not self._waiting
        self.forget_attempt()
        if sent:
            await self.pipe.mute()

    async def _send_or_hold(self, frame: Frame) -> None:
        """Send a frame, or add it to those that wait for the connection."""
        if self._waiting:
            self._waiting.append(frame)
        else:
            await self.pipe.send(frame)

    async def send_waiting_frames(self) -> bool:
        """Send the frames that wait for the connection; return False if nothing was sent.

        A paused attempt, which waited for a first connection, is resumed.
        """
        if not (self._waiting and self.connection.up and self.pipe.ready.is_set()):
            return False
        frames, self._waiting = self._waiting, []
        waited, self._due_s = self._due_s is not None, None
        cold, self.connection.cold = self.connection.cold, False
        self.connection.settling = False
        for frame in frames:
            await self.pipe.send(frame)
        if cold and waited and self.attempt is not None:
            await self._stage.report(Resumed(attempt=self.attempt, began=True))
        return True

    async def settle(self, frame: TTSUpdateSettingsFrame) -> None:
        """Apply new settings, now or when the service is set up; ignore another service's."""
        if await self.pipe.settle(frame):
            self.connection.settling = True

    def give_up(self, now: float) -> Failed | None:
        """End an attempt that has waited too long for the connection, and return its failure.

        `None` if no attempt waits, or if it is not due yet.
        """
        self._lag.count_stall(now)
        if self.due_at is None or now < self.due_at or self.attempt is None:
            return None
        hang = self.connection.report_hang()
        failed_attempt = Failed(attempt=self.attempt, failure=hang, without_lag=True)
        self.forget_attempt()
        return failed_attempt

    def forget_attempt(self) -> None:
        """Forget the attempt, its waiting text and its time limit; the voice is not stopped."""
        self.attempt, self._waiting, self._due_s = None, [], None

    async def close(self, *, within_s: float = STOP_S) -> None:
        """Stop reconnecting, close the connection and return the seat."""
        self.forget_attempt()
        await self.reconnector.close(self._stage)
        await super().close(within_s=within_s)

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Report audio in whole samples, each piece once; drop that of an earlier attempt."""
        if attempt != self.attempt:
            return
        if attempt != self._pieces_of:
            self._pieces_of, self._pieces = attempt, Pieces(self.rate_hz)
        samples = self._pieces.take(pcm)
        if samples:
            came = SoundCame(
                attempt=attempt,
                pcm=samples,
                speaking=self._pieces.speaking(samples),
                quiet_s=quiet_end(samples) / self.rate_hz,
            )
            await self._stage.report(came)

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Report a word's time, in seconds of the attempt's audio."""
        timed = WordTimed(attempt=attempt, text=text, start_s=start_s, end_s=end_s)
        await self._stage.report(timed)

    async def spoken(self, attempt: int, *, more: bool = False) -> None:
        """Report that the voice has sent everything, or (`more`) one of its texts."""
        if attempt == self.attempt and not more:
            self.forget_attempt()
        await self._stage.report(Finished(attempt=attempt, more=more))

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Report the voice's error; after a rate limit, the gate has fewer places for a while."""
        self.seat.learn(failure)
        await self._stage.report(Failed(attempt=attempt, failure=failure))

    async def connecting(self) -> None:
        """Record that a connection is being opened."""
        self.connection.began(self._stage.now())

    async def connected(self) -> None:
        """Record that the connection is open, and send the frames that waited for it."""
        self.connection.made(waited_for=self.due_at is not None)
        self.reconnector.backoff.up(self._stage.now())
        await self.send_waiting_frames()

    async def unreachable(self, failure: Failure) -> None:
        """Record a refusal, reconnect in the background, and fail an attempt that waited."""
        waited = self.attempt if self.due_at is not None else None
        self.connection.refused(failure, waited_for=waited is not None)
        self._restore_connection(failure)
        if waited is not None:
            self.forget_attempt()
            await self._stage.report(Failed(attempt=waited, failure=failure))

    async def lost(self, failure: Failure | None) -> None:
        """Record the loss of the connection, and reconnect in the background.

        An attempt that used the connection fails, with `failure` or as closed while idle.
        """
        self.connection.lost()
        asked = self.attempt if self.due_at is None else None
        self._restore_connection(failure)
        if asked is not None:
            reason = "closed while idle"
            idle = failed(Kind.NETWORK, "tts", provider=self.name, reason=reason)
            await self._stage.report(Failed(attempt=asked, failure=failure or idle))

    async def _is_ready(self, _pipe: RungPipeline) -> None:
        await self.send_waiting_frames()

    async def _reconnect_voice(self) -> bool:
        """Reconnect, unless that is in progress; return whether the connection is open."""
        if not self.connection.up and not self.connection.is_connecting:
            await self._voice.revive()
        return self.connection.up

    async def _pass_on(self, _pipe: RungPipeline, frame: Frame, _direction: FrameDirection) -> None:
        """Pass on metrics, and report errors; other frames of the service are not needed."""
        if isinstance(frame, MetricsFrame):
            in_use = self.name == self._speaker()
            frame.data = [
                value for value in frame.data if in_use or isinstance(value, TTSUsageMetricsData)
            ]  # text that was sent is billed, even if another rung's audio was used
            if frame.data:
                await self._stage.push_frame(frame)
        elif isinstance(frame, ErrorFrame) and frame.exception and self.attempt is not None:
            found, reason = classify_error(frame.exception), type(frame.exception).__name__
            failure = failed(found, "tts", provider=self.name, reason=reason)
            await self._stage.report(Failed(attempt=self.attempt, failure=failure))

    def _restore_connection(self, failure: Failure | None) -> None:
        """Reconnect in the background; the failure, if any, limits the seat and the next try."""
        if failure:
            self.seat.learn(failure)
        permanent = failure is not None and failure.permanent
        self.reconnector.backoff.down(self._stage.now(), permanent=permanent)
        self.reconnector.start_reconnecting(self._stage)


def _text_frame(text: str) -> AggregatedTextFrame:
    return AggregatedTextFrame(text, TextType.SENTENCE, raw_text=text)
