"""The recognisers at work: who hears the caller, who is heard, what is passed on.

Between utterances the best connected rung hears the caller live. At the start of one, the failover
says who is asked: if that rung hears already, nothing is done; if not, it gets the utterance from
its first word, and then the live sound.
"""

from collections.abc import Callable, Mapping
from typing import Final

from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

from calls.entry import Tell
from calls.turn import HOLD_S, Turn
from fallbacks.attempts import Abandon, Cancel, Done, Start, Step, TellFact, Win
from fallbacks.classification import classify_symptom
from fallbacks.deadline import Deadline
from fallbacks.failure import failed
from fallbacks.ladder import rank
from fallbacks.symptoms import Symptom
from fallbacks.work import StagePolicy, Work
from processors.stt_failure import book, failure_of
from processors.stt_reading import read
from processors.stt_rung import SttRung
from processors.stt_sound import NOBODY, CallerSound, PassedOn, Transcript
from processors.stt_work import Utterance

IDLE_KEPT_S: Final = 2.0  # of the caller's sound between utterances; a VAD is sure 0.2 s late
AIM_S: Final = (
    1.0  # of it, for a rung that begins to hear between utterances; and how often we look
)
AGAIN_S: Final = 0.1  # before the end of the last utterance: nothing older is replayed


class SttLadder:
    """Does what is decided. Calls must not overlap.

    Attributes:
        current: The rung that is heard.
    """

    def __init__(
        self,
        rungs: Mapping[str, SttRung],
        *,
        policy: StagePolicy,
        tell: Tell,
        clock: Callable[[], float],
        turn: Turn,
        revive: Callable[[SttRung], None],
    ) -> None:
        """Take the rungs.

        Args:
            rungs: By name, the preferred one first.
            policy: What all calls share about this stage.
            tell: Takes the facts.
            clock: Monotonic, in seconds.
            turn: The turn in progress.
            revive: Connects a rung anew in the background.
        """
        self.current = next(iter(rungs.values()))
        self._rungs = rungs
        self._policy = policy
        self._tell = tell
        self._now = clock
        self._turn = turn
        self._revive = revive
        self._utterance: Utterance | None = None
        self._passed_on = PassedOn()
        self._sound = CallerSound(16_000)
        self._aim_at_s = 0.0  # of the caller's sound
        self._stopped_at = 0.0  # on the clock
        self._stopped_s = 0.0  # of the caller's sound
        self._started = VADUserStartedSpeakingFrame()
        self._stopped = VADUserStoppedSpeakingFrame()

    @property
    def owed(self) -> bool:
        """Whether the caller has stopped, and words of theirs are still to come."""
        return self._utterance is not None and self._utterance.owed

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        if self._active is None:
            return None
        mute = [each.mute_at for each in self._rungs.values() if each.attempt is not None]
        moments = [self._active.work.wake_at, *mute]
        return min((each for each in moments if each is not None), default=None)

    def setup(self, rate_hz: int) -> None:
        """Learn the caller's sample rate, before the first sound."""
        self._sound = CallerSound(rate_hz)

    async def hear(self, frame: InputAudioRawFrame) -> None:
        """Take in the caller's sound."""
        self._sound.push(frame)
        if self._active is None and not self._unwritten:
            self._sound.keep(IDLE_KEPT_S)
        for rung in self._rungs.values():
            await rung.hear(frame)
        if self._sound.end_s >= self._aim_at_s:  # nobody tells us that a rung is trusted again
            self._aim_at_s = self._sound.end_s + AIM_S
            await self._aim()

    async def started(self, frame: VADUserStartedSpeakingFrame) -> None:
        """Note that the caller speaks."""
        self._started = frame
        utterance = self._active
        if utterance is not None:
            utterance.resumed()
            for rung in self._rungs.values():
                if rung.held_s is not None:
                    await rung.go_on(self._sound.since(rung.held_s))
                await rung.speech(frame)
            return
        self._utterance = utterance = self._begun(frame)
        self._passed_on.utterance()
        await self._do(utterance.start())
        for rung in self._rungs.values():
            if rung.attempt is None and utterance.work.over:
                await rung.speech(frame)  # nobody may be asked: whoever hears may still write
            elif rung.attempt is None:
                await rung.leave()

    async def stopped(self, frame: VADUserStoppedSpeakingFrame) -> None:
        """Note that the caller has stopped."""
        self._stopped = frame
        self._stopped_at, self._stopped_s = self._now(), self._sound.end_s
        for rung in self._rungs.values():
            await rung.speech(frame)
            rung.hold(self._stopped_s)
        if self._utterance is not None:
            await self._do(self._utterance.stopped(self._stopped_s, stop_s=frame.stop_secs))

    async def result(self, rung: SttRung, frame: Transcript) -> Transcript | None:
        """Take in a result, and return what of it is to be passed on."""
        rung.lives(words=bool(frame.text))
        reading = rung.heard(read(frame))
        utterance, attempt = self._active, rung.attempt
        if reading is None:
            return None
        if utterance is not None:
            if attempt is None:
                return None  # late words of an abandoned attempt
            await self._do(utterance.heard(attempt, reading))
            if utterance.work.winner != attempt:
                return None
        elif rung is not self.current:
            return None
        frame.metadata["rung"] = rung.name
        return self._passed_on.new(frame, reading)

    async def lost(self, rung: SttRung, frame: ErrorFrame) -> None:
        """Take in that a rung failed."""
        failure, attempt, utterance = failure_of(frame, rung.name), rung.attempt, self._active
        rung.lost()
        rung.seat.learn(failure)
        rung.attempt, rung.waits = None, False
        self._revive(rung)
        if utterance is not None and attempt is not None:
            await self._do(utterance.failed(attempt, failure))
        else:
            book(failure, self._policy, tell=self._tell, clock=self._now)
        await self._aim()

    async def up(self, rung: SttRung) -> None:
        """Take in that a rung is connected."""
        rung.is_up()
        if rung.waits:
            await self._feed(rung)
        elif self._utterance is not None and self._unwritten:
            await self._do(self._utterance.again(self._work()))
        await self._aim()

    async def tick(self, at: float) -> None:
        """Do what is due by the passing of time."""
        for rung in self._rungs.values():
            if self._active is not None and rung.attempt is not None and rung.mute:
                await self._mute(rung, self._active, rung.attempt)
        if self._active is not None:
            await self._do(self._active.tick(at))

    @property
    def _active(self) -> Utterance | None:
        utterance = self._utterance
        return utterance if utterance is not None and not utterance.work.over else None

    @property
    def _unwritten(self) -> bool:
        """Whether nobody could write the utterance down, and it is not too late for that."""
        utterance = self._utterance
        return (
            utterance is not None
            and utterance.exhausted
            and (utterance.speaking or not self._until().passed(self._now()))
        )

    def _begun(self, frame: VADUserStartedSpeakingFrame) -> Utterance:
        began_s = self._sound.end_s - frame.start_secs
        not_before_s = self._stopped_s - AGAIN_S
        if self._utterance is not None and self._unwritten:  # what was said before is still wanted
            began_s, not_before_s = self._utterance.began_s, self._utterance.not_before_s
        return Utterance(
            self._work(),
            began_s=began_s,
            not_before_s=not_before_s,
            clock=self._now,
            until=self._until,
            gap_s=self._policy.pace.gap_s,
        )

    def _work(self) -> Work:
        return Work(
            self._policy,
            numbers=self._turn.attempts,
            offered=lambda name: self._rungs[name].seat.offered,
        )

    def _until(self) -> Deadline:
        """While the caller speaks nobody waits; the turn learns of a stop a little late."""
        utterance = self._utterance
        if utterance is None or utterance.speaking:
            return self._turn.unhurried_until(self._now())
        until = self._turn.patient_until(self._now())
        return until.no_sooner_than(self._stopped_at + HOLD_S)

    async def _do(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case TellFact():
                    self._tell(step.fact)
                case Start():
                    await self._ask(self._rungs[step.provider], step.attempt)
                case Win():
                    self.current = self._rungs[step.provider]
                    self._passed_on.write(step.attempt, replayed=self.current.replayed)
                case Cancel() | Abandon():
                    await self._drop(step)
                case Done():
                    self._rungs[step.provider].done()
                    await self._aim()
                case _:
                    pass  # exhausted: whoever hears now may still write

    async def _ask(self, rung: SttRung, attempt: int) -> None:
        if not rung.seat.offered and self._utterance is not None:
            await self._do(self._utterance.refused(attempt))
            return
        stuck = rung.attempt is not None  # it is asked again while it is late
        rung.attempt = attempt
        if rung.connected and not stuck:
            await self._feed(rung)
        else:
            rung.waits = True
            rung.hurry()
            self._revive(rung)

    async def _feed(self, rung: SttRung) -> None:
        """Let a rung hear the utterance; it may hear it already."""
        rung.waits = False
        utterance = self._utterance
        if utterance is None:
            return
        from_s = utterance.replay_from_s(self._sound.start_s)
        if rung.mute and rung.attempt is not None:
            await self._mute(rung, utterance, rung.attempt)
            return
        if rung.fed and rung.fed_from_s <= from_s:
            rung.replayed = False
            await rung.speech(self._started)
            return
        from_s = self._sound.onset_s(from_s, utterance.began_s)
        await rung.begin(self._sound.since(from_s), from_s=from_s, said=self._started)
        if not utterance.speaking:
            await rung.speech(self._stopped)
            rung.hold(self._sound.end_s)

    async def _mute(self, rung: SttRung, utterance: Utterance, attempt: int) -> None:
        """Move on from a rung that said something of every silent second, and says nothing."""
        failure = failed(classify_symptom(Symptom.NO_RESULTS), "stt", provider=rung.name)
        rung.attempt = None
        rung.lost()
        self._revive(rung)
        await self._do(utterance.failed(attempt, failure))

    async def _drop(self, step: Cancel | Abandon) -> None:
        rung = self._rungs[step.provider]
        if rung.attempt != step.attempt:
            return  # it has been asked again since
        await rung.leave()
        if isinstance(step, Abandon):
            self._revive(rung)  # whatever its stream is stuck in

    async def _aim(self) -> None:
        """Between utterances, let the rung hear that will be asked next."""
        for rung in self._rungs.values():
            if rung.overdue() and rung.attempt is None:
                hangs = failed(classify_symptom(Symptom.NO_ANSWER), "stt", provider=rung.name)
                book(hangs, self._policy, tell=self._tell, clock=self._now)
        if self._active is not None:
            return
        ranked = rank(
            self._policy.roster.standings(self._policy.stage, self._now()),
            self._until(),
            now=self._now(),
        )
        rungs = [self._rungs[each] for each in ranked]
        best = next((each for each in rungs if each.connected or each.opening), None)
        if best is None or not best.connected or best.fed:
            return
        if best is not self.current:
            await self.current.leave()
            self.current = best
            self._passed_on.write(NOBODY, replayed=False)
        from_s = max(self._sound.start_s, self._sound.end_s - AIM_S)
        await best.begin(self._sound.since(from_s), from_s=from_s)
