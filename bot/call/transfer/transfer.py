"""Transfers a caller to a person: carries out the steps of `TransferDecision`, emits the result.

No failure may lose the caller: the attempt ends as failed, and the agent comes back and says so.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from loguru import logger
from pipecat.frames.frames import InterruptionWorkerFrame
from pipecat.processors.frame_processor import FrameDirection

from bot.call.shared import Shared
from bot.call.transfer.decision import At, How, Steps, TransferDecision, TransferStep
from bot.call.transfer.person_call import PersonCall, Summary, summarise
from bot.call.transfer.waiting_line import JoinedSound, WaitingLine
from bot.tools.caller_requests import CallerRequests
from calls.entry import Emit
from calls.handover import Destination, Handover
from calls.leg_events import CallerReturned, HandedOver, PersonBriefed
from calls.turn import Turn
from campaigns.order_gate import Order
from configuration.agent import CALLBACK, PERSON, AgentSettings, DestinationSettings
from configuration.rungs import language_for_stage
from processors.answering.stage import LlmStage
from processors.holding.hold_line import HoldLine
from processors.holding.line_executor import until_heard
from processors.holding.menu_rules import Consent
from processors.holding.utterance_rules import Situation
from processors.ladder.stage import Alarm
from processors.turn.floor import Away, Floor, FloorEvent, KeyGiven
from transports.leg import Leg, may_order


def begin_owned(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Start a task that the caller of this function must keep, cancel and await."""
    return asyncio.get_running_loop().create_task(work, name=name)


CONFIRM_S: Final = 20.0  # to press the same key again; reading out the number takes about 10 s
NO_PRESS: Final = ("", 0.0)  # a key, and when it was pressed
END_PERSON_LEG_S: Final = 3.0  # for the person's leg to end with the call


class Transfer:
    """Transfers one caller to a person, one attempt at a time. `close` it with the call.

    Attributes:
        waiting: The processor of what the caller hears meanwhile, directly before the output.
        sound: The processor that copies the caller's audio to the person, directly after the input.

    Args:
        shared: The resources that all calls share.
        leg: The caller's leg.
        agent: The agent with its destinations and keys.
        call_id: Names the call for the owner's webhook.
        llm: Summarises the call.
        conversation: Returns the conversation without secrets.
        waiting: Plays tones, sentences and the person's audio to the caller.
        hold_line: Speaks when an answer is late, and reads the outage menu.
        floor: The call's floor.
        requests: Notes a callback, and ends the call.
        turn: The turn in progress.
        emit: Takes the events of the transfer.
    """

    def __init__(
        self,
        shared: Shared,
        leg: Leg,
        agent: AgentSettings,
        *,
        call_id: str,
        llm: LlmStage,
        conversation: Callable[[], Sequence[Mapping[str, Any]]],
        waiting: WaitingLine,
        hold_line: HoldLine,
        floor: Floor,
        requests: CallerRequests,
        turn: Turn,
        emit: Emit,
    ) -> None:
        """Listen to the floor for the agent's keys, which begin an attempt later."""
        self.waiting, self.sound = waiting, JoinedSound()
        floor.listeners.append(self._follow_key)
        self.shared, self.leg, self.agent = shared, leg, agent
        self.hold_line, self._floor, self.requests = hold_line, floor, requests
        self.turn, self.emit = turn, emit
        self.people_carrier = shared.people.for_caller(leg.facts.transport)
        # For the person, not the caller.
        self.language = language_for_stage(agent.language, "tts")
        self._call_id, self._llm, self._conversation = call_id, llm, conversation
        self._attempt: TransferAttempt | None = None
        self._running: asyncio.Task[Handover | None] | None = None
        self._noting: asyncio.Task[None] | None = None
        self._first_press = NO_PRESS  # of the key for a callback; see `_key_to_confirm`

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations that this line can reach."""
        return tuple(
            name for name, to in self.agent.destinations.items() if self._transfer_kind(to)
        )

    @property
    def busy(self) -> bool:
        """Whether the caller waits for a person or talks with one."""
        return self._running is not None and not self._running.done()

    @property
    def kept(self) -> dict[str, Any]:
        """What is under way, for the call's resume state; empty if nothing is."""
        if self.busy and self._attempt:
            return self._attempt.kept
        return {"key": key} if (key := self._key_to_confirm()) else {}

    async def restore(self, kept: Mapping[str, Any]) -> bool:
        """Go on with what an earlier process kept; return False if the agent must go on itself.

        A key for a callback counts as pressed now. The person's leg was lost, so they are called
        again. If the carrier had the caller, it has returned them.
        """
        if key := kept.get("key"):
            self._first_press = (str(key), self.shared.clock())
            return False
        if kept["left"]:
            await self.waiting.say(Situation.NOT_REACHED)
            await self.waiting.say(Situation.OFFER_CALLBACK)
            return True
        return self.reach(str(kept["to"]), str(kept["reason"]))

    def reach(self, name: str, reason: str, *, words_first: bool = False) -> bool:
        """Begin a transfer; return False if it is impossible, or if another one is in progress.

        In the latter case, the caller is told that it takes a moment longer.

        Args:
            name: A destination of the agent.
            reason: Why the caller needs a person.
            words_first: Whether the model is writing words that the caller should hear first.
        """
        destination = self.agent.destinations.get(name)
        how = self._transfer_kind(destination) if destination else None
        if self.busy:
            self.hold_line.note_answered()  # the model gives no answer to this turn
            self.hold_line.reassure()
        if destination is None or how is None or self.busy:
            return False
        if words_first:
            self.waiting.expect_words()
        to, ring_s = Destination(name=name, number=destination.number), destination.ring_s
        self._attempt = TransferAttempt(self, how, to, ring_s=ring_s, reason=reason)
        self._running = begin_owned(self._attempt.run(), "transfer")
        return True

    async def connect(self, reason: str = "") -> bool:
        """Try the first destination for the outage menu; return whether the caller was connected.

        Returns when the attempt is over.
        """
        name = next(iter(self.names), "")
        if not self.reach(name, reason) or self._running is None or self._attempt is None:
            return False
        self._attempt.from_menu = True
        # Shielded: if the menu stops waiting, the transfer continues.
        return await asyncio.shield(self._running) == "connected"

    async def summarise(self, reason: str, to: Destination) -> Summary:
        """Return the summary of the call, and queue it for the owner's webhook."""
        reason = self.requests.stored(reason)
        summary = await summarise(
            self._llm,
            self._conversation(),
            reason=reason,
            language=self.language,
            limit_s=self.shared.settings.transfer.summary_s,
            clock=self.shared.clock,
        )
        self.shared.posts.send(
            {
                "call_id": self._call_id,
                "destination": to.name,
                "caller": self.leg.facts.other_party,
                "reason": reason,
                "summary": summary.text,
                "by": summary.by,
            }
        )
        return summary

    def order(self, to: Destination) -> Order:
        """Return a new call request, with an id of its own, for the gate to admit or refuse."""
        by, order_id = f"call {self._call_id}", f"to-{secrets.token_hex(8)}"
        return Order(id=order_id, source="transfer", by=by, number=to.number)

    async def close(self) -> None:
        """End the transfer within `END_PERSON_LEG_S`, so the person hears no empty line.

        A callback that is being noted is cancelled, too: `CallerRequests.close` stores it.
        """
        if self._attempt and self._running:
            self._attempt.caller_gone()
            await asyncio.wait({self._running}, timeout=END_PERSON_LEG_S)
        for task in filter(None, (self._running, self._noting)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def leave_agent(self) -> None:
        """Pause the agent's prompts and fillers while the caller waits for the person."""
        self.hold_line.note_answered()
        self._floor.set_away(Away.PERSON, away=True)

    def part(self) -> None:
        """Disconnect the caller's audio from the person's."""
        self.sound.take = None
        self.waiting.together = False

    def return_to_agent(self) -> None:
        """Disconnect the caller from the person, end the tones, and let the agent speak again."""
        self.part()
        self.hold_line.play_on_hold(on=False)
        self._floor.set_away(Away.PERSON, away=False)

    def _transfer_kind(self, to: DestinationSettings) -> How | None:
        """Return the kind of transfer to a destination; `None` if this line supports none."""
        can_call = self.people_carrier is not None
        if to.warm and can_call:
            return How.BRIEF
        if self.leg.facts.transfers:
            return How.HAND_ON
        return How.CALL if can_call else None

    def _follow_key(self, event: FloorEvent) -> None:
        """Begin the transfer or callback that the agent's `keys` define for a pressed key.

        Keys are ignored while a transfer is in progress.
        """
        if not isinstance(event, KeyGiven) or event.owner != "agent" or self.busy:
            return
        key, target, reason = event.key, self.agent.keys[event.key], f"pressed {event.key}"
        if target == CALLBACK:
            self._noting = begin_owned(self._note_callback(key, reason), "note a callback")
        else:
            self.reach(next(iter(self.names), "") if target == PERSON else target, reason)

    def _key_to_confirm(self) -> str:
        """Return the key for a callback that may still be pressed again; empty without one."""
        key, pressed_at = self._first_press
        return key if self.shared.clock() <= pressed_at + CONFIRM_S else ""

    async def _note_callback(self, key: str, reason: str) -> None:
        """Read out the number; note the callback if the same key is pressed again in `CONFIRM_S`.

        Without a number to read out, try to note it at once.
        """
        is_confirmed = key == self._key_to_confirm()
        self._first_press = (key, self.shared.clock())
        if self.leg.facts.other_party and not is_confirmed:
            await self.waiting.say(Situation.CONFIRM_NUMBER)
            return
        self._first_press = NO_PRESS
        kept = await self.requests.call_back(reason)
        await self.waiting.say(Situation.CALLBACK if kept else Situation.NO_CALLBACK)


ACCEPT: Final = "1"
DECLINE: Final = "2"
REASON: Final = "transfer"
"""The reason in `CallEnded` after a blind transfer."""

Report: TypeAlias = Callable[[float], Steps]
"""A result to report to the decision: one of its methods, called with the time."""

ANSWERS: Final[Mapping[str, bool]] = {
    ACCEPT: True,
    DECLINE: False,
    Consent.YES: True,
    Consent.NO: False,
}
"""A person's answers, by key or word; True accepts the call."""


class _Tasks:
    """The tasks of one attempt, and the queue of their reports."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._alarm = Alarm(clock)
        self._now = clock
        self._reports: deque[Report] = deque()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def report(self, report: Report) -> None:
        """Queue a report; never waits."""
        self._reports.append(report)
        self._alarm.ring()

    async def wait(self, wake_at: float | None) -> tuple[Report | None, float]:
        """Return the next report, or `None` if none came before `wake_at`; and the time."""
        now = await self._alarm.wait(self._now() if self._reports else wake_at)
        return (self._reports.popleft() if self._reports else None), now

    def start(
        self, name: str, work: Coroutine[Any, Any, Report | None], on_failure: Report
    ) -> None:
        """Start a step in a task, and queue its report when it is done or has failed.

        Use each name once: a second task would replace the first one, and `cancel` would miss that.
        """
        reporting = self._report_result(name, work, on_failure)
        self._under_way[name] = begin_owned(reporting, f"transfer: {name}")

    async def cancel(self, *names: str) -> None:
        """Cancel these tasks, or all if none are named, and wait for them."""
        found = self._under_way.items()
        tasks = [task for name, task in found if not names or name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _report_result(
        self, name: str, work: Coroutine[Any, Any, Report | None], on_failure: Report
    ) -> None:
        """Report a step's result, if it has one; if it raises, log that and report `on_failure`."""
        try:
            report = await work
        except Exception as broken:  # noqa: BLE001 - a failed step is reported, like any result
            logger.opt(exception=broken).error("transfer: {} failed", name)
            report = on_failure
        if report is not None:
            self.report(report)


class TransferAttempt:
    """One attempt to transfer. Each step that takes time runs in its own task."""

    def __init__(
        self, transfer: Transfer, how: How, to: Destination, *, ring_s: float, reason: str
    ) -> None:
        """Record when the attempt began; no task starts, and no one is called yet.

        Args:
            transfer: The call's transfers, whose leg, gate and clock the attempt uses.
            how: The kind of transfer.
            to: The destination.
            ring_s: How long the person may be rung, in seconds.
            reason: Why the caller is transferred.
        """
        self.from_menu = False  # the menu itself offers a callback or says goodbye
        self._transfer = transfer
        self._decision = TransferDecision(how, ring_s=ring_s)
        self._to = to
        self._ring_s = ring_s
        self._reason = reason
        self._emit = transfer.emit
        self._now = transfer.shared.clock
        self._began_at = self._now()
        self._outcome_emitted = False
        self._summary: Summary | None = None
        self._person: PersonCall | None = None
        self._gate, self._order = transfer.shared.gate, transfer.order(to)
        self._answered_at: float | None = None  # by the person
        self._tasks = _Tasks(self._now)

    @property
    def kept(self) -> dict[str, Any]:
        """The attempt, for the call's resume state; `left`: the carrier may have the caller."""
        left = self._decision.at is At.LEAVING
        return {"to": self._to.name, "reason": self._reason, "left": left}

    def caller_gone(self) -> None:
        """End the attempt, because the caller's leg or the call has ended."""
        self._tasks.report(self._decision.caller_gone)

    async def run(self) -> Handover | None:
        """Run the attempt; return its result, `None` if the caller hung up first or it crashed.

        However it ends, its tasks are cancelled, and the gate learns the outcome and how long the
        person was connected.
        """
        decision = self._decision
        default_outcome = "caller_gone"  # for the gate, if the decision has none
        try:
            self._transfer.leave_agent()
            await self._carry_out(decision.start(self._now()))
            while decision.at is not At.OVER:
                report, now = await self._tasks.wait(decision.wake_at)
                await self._carry_out((report or decision.tick)(now))
        except Exception as broken:  # noqa: BLE001 - the caller must return to the agent
            logger.opt(exception=broken).error("a transfer failed")
            default_outcome = "failed"
            await self._drop_person("failed")
            await self._come_back("failed")
        finally:
            await self._tasks.cancel()
            answered_at = self._answered_at
            length_s = None if answered_at is None else self._now() - answered_at
            outcome = decision.outcome or default_outcome
            await self._gate.end(self._order.id, outcome, length_s=length_s)
        return decision.outcome

    async def _carry_out(self, steps: Steps) -> None:
        """Carry out steps in order; those that take time go on in tasks of their own."""
        for step in steps:
            match step:
                case TransferStep.HOLD:
                    self._transfer.hold_line.play_on_hold(on=True)
                case TransferStep.DROP:
                    await self._drop_person(self._decision.drop_reason)
                case TransferStep.COME_BACK:
                    await self._come_back(self._decision.outcome or "failed")
                case TransferStep.TAKE_BACK:
                    await self._take_back()
                case TransferStep.LET_GO:
                    await self._let_go()
                case _:
                    self._begin_step(step)

    def _begin_step(self, step: TransferStep) -> None:
        """Start a step that takes time."""
        decision = self._decision
        work, on_failure = {
            TransferStep.ANNOUNCE: (self._announce_transfer, decision.announced),
            TransferStep.SUMMARISE: (self._write_summary, decision.summary_ready),
            TransferStep.CALL: (
                self._call_person,
                partial(decision.person_called, outcome="failed"),
            ),
            TransferStep.HAND_ON: (self._hand_on, partial(decision.handed_on, outcome="failed")),
            TransferStep.BRIEF: (self._brief_person, decision.person_gone),
            TransferStep.ASK_AGAIN: (partial(self._brief_person, again=True), decision.person_gone),
            TransferStep.JOIN: (self._join_parties, partial(decision.joined, ok=False)),
        }[step]
        self._tasks.start(step, work(), on_failure)

    # Steps that take time; each returns its report.

    async def _announce_transfer(self) -> Report:
        """Tell the caller about the transfer, after what the agent is saying."""
        waiting = self._transfer.waiting
        await waiting.wait_for_words()
        await waiting.say(Situation.PERSON)
        await until_heard(waiting.line, self._now)
        return self._decision.announced

    async def _write_summary(self) -> Report:
        self._summary = await self._transfer.summarise(self._reason, self._to)
        return self._decision.summary_ready

    async def _call_person(self) -> Report:
        """Call the person, and run their leg if they pick up.

        Reports `failed` if another process has the call, or if the gate refuses the order.
        """
        decision, transfer = self._decision, self._transfer
        assert transfer.people_carrier  # noqa: S101 - `_transfer_kind` has checked
        may_call = await may_order(transfer.leg) and not await self._gate.admit(self._order)
        if not may_call:
            return partial(decision.person_called, outcome="failed")
        result = await transfer.people_carrier.call_person(self._to, ring_s=self._ring_s)
        if isinstance(result, str):  # the reason why the person has no leg
            return partial(decision.person_called, outcome=result)
        self._answered_at = self._now()
        self._person = PersonCall(
            transfer.shared,
            result,
            transfer.agent,
            language=transfer.language,
            turn=transfer.turn,
            emit=self._emit,
        )
        running = self._person.run(
            on_gone=lambda: self._tasks.report(decision.person_gone),
            on_key=self._note_answer,
            on_word=self._note_answer,
        )
        self._tasks.start("person", running, decision.person_gone)
        return partial(decision.person_called, outcome="connected")

    async def _hand_on(self) -> Report:
        """Let the carrier transfer the call, if the gate allows it."""
        refusal = await self._gate.admit(self._order)
        if refusal:
            return partial(self._decision.handed_on, outcome="failed")
        outcome = await self._transfer.leg.transfer(self._to, ring_s=self._ring_s)
        return partial(self._decision.handed_on, outcome=outcome)

    async def _brief_person(self, *, again: bool = False) -> Report:
        """Tell the person the summary, if there is one, and how to accept; `again`: only that."""
        summary = self._summary
        if self._person:
            await self._person.brief(summary.text if summary else "", again=again)
        if summary and not again:
            self._emit(
                PersonBriefed(destination=self._to.name, by=summary.by, took_s=summary.took_s)
            )
        return self._decision.briefed

    async def _join_parties(self) -> Report:
        """Silence the agent, connect the caller and the person, and emit the outcome."""
        transfer, waiting, person = self._transfer, self._transfer.waiting, self._person
        if person is None:
            return partial(self._decision.joined, ok=False)
        transfer.hold_line.play_on_hold(on=False)
        await waiting.push_frame(InterruptionWorkerFrame(), FrameDirection.UPSTREAM)
        waiting.together = True
        await waiting.say(Situation.TOGETHER)
        rate_hz = transfer.leg.facts.sample_rate_hz
        transfer.sound.take = await person.join(waiting.play, caller_rate_hz=rate_hz)
        self._emit_outcome("connected")
        return partial(self._decision.joined, ok=True)

    def _note_answer(self, answer: str) -> None:
        """Report whether the person accepts the call; other keys are ignored."""
        accepts = ANSWERS.get(answer)
        if accepts is not None:
            self._tasks.report(partial(self._decision.person_decided, accepts=accepts))

    # The ends of an attempt.

    async def _drop_person(self, reason: str) -> None:
        """End the person's leg, or the attempt to call them; a waiting caller still hears tones."""
        await self._tasks.cancel(TransferStep.CALL, TransferStep.JOIN)  # both use the person's leg
        self._transfer.part()
        if self._person:
            await self._person.hang_up(reason)

    async def _let_go(self) -> None:
        """Emit that the transfer succeeded, and end our part of the call: the carrier has it."""
        self._transfer.hold_line.play_on_hold(on=False)
        self._emit_outcome("connected")
        await self._transfer.requests.hang_up(REASON)

    async def _come_back(self, outcome: Handover) -> None:
        """Return to the agent, which says that the transfer failed and may offer a callback.

        It says so after the words that the model wrote before it requested the transfer. If the
        transfer has failed before the announcement could be spoken, that is left out.
        """
        self._transfer.return_to_agent()
        self._emit_outcome(outcome)
        await self._tasks.cancel(TransferStep.ANNOUNCE)
        waiting = self._transfer.waiting
        await waiting.wait_for_words()
        await waiting.say(Situation.NOT_REACHED)
        if not self.from_menu:
            await waiting.say(Situation.OFFER_CALLBACK)

    async def _take_back(self) -> None:
        """Return to the agent, because the person has left, and emit `CallerReturned`.

        The agent says so, unless the outage menu began the transfer.
        """
        self._transfer.return_to_agent()
        self._emit(CallerReturned(destination=self._to.name, talked_s=self._decision.talked_s))
        if not self.from_menu:
            # this also asks whether there is anything else
            await self._transfer.waiting.say(Situation.BACK)
        if self._person:
            await self._person.hang_up("person_hung_up")  # last: a carrier may take seconds

    def _emit_outcome(self, outcome: Handover) -> None:
        """Emit the attempt's outcome, the first time only."""
        if not self._outcome_emitted:
            self._outcome_emitted = True
            self._emit(
                HandedOver(
                    turn=self._transfer.turn.number,
                    destination=self._to.name,
                    outcome=outcome,
                    took_s=self._now() - self._began_at,
                )
            )
