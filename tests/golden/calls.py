"""The golden calls: what happens in each, and on which configuration.

Most are rows of the drill's matrix, played by the drill's own plans. The rest are healthy calls in
which the caller or a tool does something else than ask and listen.

The row `barge-in-resumed` is not among them: its caller breaks in at the end of a word, which is
heard in some runs and not in others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from calls.events import AgentSaid
from lab.drill.asking import ask_and_judge, ask_broken
from lab.drill.breaks import REFUSE, each_of
from lab.drill.evidence import judge_turn
from lab.drill.matrix import FULL
from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.rig import AskedTurn, Conversation
from lab.drill.rows import HOURS, CallPlan, Row
from tests.bot.tools.owner_functions import opening_hours, opening_hours_slowly
from tests.golden.rig import GoldenRig

Play: TypeAlias = Callable[[GoldenRig, MeasuredRun], Awaitable[None]]
Act: TypeAlias = Callable[[GoldenRig, Conversation], Awaitable[None]]

DRILLED: Final = (
    *("healthy", "noise", "llm-refused", "llm-5xx", "llm-429", "llm-401", "llm-silent"),
    *("llm-alive", "llm-no-speech", "llm-cut-1", "llm-cut-4", "llm-cut-11", "llm-stall-4"),
    *("llm-stall-11", "llm-endless", "llm-repeats", "tts-refused", "tts-dead", "tts-silent"),
    *("tts-cut-reset", "tts-cut-close", "tts-cut-error", "tts-cut-inside", "tts-stall"),
    *("tts-leave-out", "stt-dead-capped", "stt-mute", "stt-refused-start", "stt-hung-start"),
    *("standby-hung-start", "all-dead", "all-hung", "two-stages", "second-turn-stt"),
    *("second-call-llm", "second-call-tts", "stt-probes", "tts-probes", "flapping-llm"),
    *("barge-in-failover", "barge-in-clip", "recovery-llm"),
)
BOOKING: Final = (
    *("I would like to book a haircut for Friday.", "At three o'clock.", "My name is Anna."),
    "Yes, please.",
)
SHORT_S: Final = 12.0  # an answer of two sentences, and the rest after it
MENU_S: Final = 16.0  # two clips, and the first words of the menu
MENU_PAUSE_S: Final = 9.0  # the number is read out
SILENT_S: Final = 40.0  # two prompts, 8 s apart, and the goodbye
SETTLE_S: Final = 5.0  # after the last call: its record is written, and its providers are probed


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCall:
    """One golden call.

    Attributes:
        row: Its name, its faults and their times.
        play: Plays the caller's side.
        changes: Configuration sections to merge over the rig's own.
    """

    row: Row
    play: Play
    changes: Mapping[str, Any] = field(default_factory=dict)


async def _as_drilled(golden: GoldenRig, run: MeasuredRun) -> None:
    await play(golden.rig, run)


# -- what a caller does


def _says(text: str, *, for_s: float = SHORT_S) -> Act:
    async def act(_: GoldenRig, call: Conversation) -> None:
        await call.ask_only(text)
        await call.ear.wait(for_s)

    return act


def _presses(keys: str, *, for_s: float = SHORT_S) -> Act:
    async def act(golden: GoldenRig, call: Conversation) -> None:
        for key in keys:
            await golden.carriers[-1].press(key)
        await call.ear.wait(for_s)

    return act


def _in_turn(*acts: Act) -> Act:
    async def act(golden: GoldenRig, call: Conversation) -> None:
        for one in acts:
            await one(golden, call)

    return act


async def _hangs_up(_: GoldenRig, call: Conversation) -> None:
    asked_s = await call.ask_only(HOURS)
    await call.ear.hear_some(1.0, since_s=asked_s, within_s=SHORT_S)


async def _loses_the_line(golden: GoldenRig, call: Conversation) -> None:
    await _hangs_up(golden, call)
    await golden.carriers[-1].break_off()
    await call.ear.wait(SHORT_S)


async def _says_nothing(_: GoldenRig, call: Conversation) -> None:
    await call.ear.wait(SILENT_S)


CONFIRMS: Final = _in_turn(_presses("1", for_s=MENU_PAUSE_S), _presses("1"))
"""A key for a callback, and the same key again after the number was read out."""

# -- plays


def _one_call(act: Act) -> Play:
    """Return a call in which the caller does something after the greeting."""

    async def play_act(golden: GoldenRig, run: MeasuredRun) -> None:
        async with golden.rig.call() as call:
            await call.wait_for_greeting()
            await _act_and_judge(act, golden, call, run)

    return play_act


async def _act_and_judge(act: Act, golden: GoldenRig, call: Conversation, run: MeasuredRun) -> None:
    """Do something, and find the words that were spoken meanwhile in the recording."""
    began_s, before = call.now_s, len(golden.server.told)
    await act(golden, call)
    events = golden.server.events[before:]
    said = [event.text for event in events if isinstance(event, AgentSaid)]
    if not said:  # it is told at the end of an utterance
        words = await golden.rig.control.words()
        said = [word["text"] for word in words if word["sent_at_s"] >= call.lab_s(began_s)]
    if not said:
        return
    moments = {"began_s": began_s, "stop_s": began_s, "end_s": call.now_s}
    turn = AskedTurn(question="", answer=" ".join(said), **moments)
    run.add(await judge_turn(call, golden.rig.control, turn))


async def _books(golden: GoldenRig, run: MeasuredRun) -> None:
    async with golden.rig.call() as call:
        await call.wait_for_greeting()
        for words in BOOKING:
            await ask_and_judge(golden.rig, call, run, words)


async def _uses_the_menu(golden: GoldenRig, run: MeasuredRun) -> None:
    async with golden.rig.call() as call:
        await call.wait_for_greeting()
        await ask_broken(golden.rig, call, run)
        await call.ear.wait(MENU_S)
        await _act_and_judge(CONFIRMS, golden, call, run)


# -- the table


def _tool(function: Callable[..., Any]) -> Mapping[str, Any]:
    entry_point = f"{function.__module__}:{function.__qualname__}"
    return {"agent": {"tools": [{"entry_point": entry_point, "name": "opening_hours"}]}}


def _healthy_calls() -> Iterator[GoldenCall]:
    slow = _tool(opening_hours_slowly)
    slow["agent"]["tools"][0]["timeout_s"] = 10.0
    plays: Mapping[str, tuple[Play, Mapping[str, Any]]] = {
        "barge-in": (_as_drilled, {}),
        "booking": (_books, {}),
        "keypad": (_one_call(_presses("4711#")), {}),
        "key-callback": (_one_call(CONFIRMS), {"agent": {"keys": {"1": "callback"}}}),
        "tool": (_one_call(_says(HOURS)), _tool(opening_hours)),
        "tool-late": (_one_call(_says(HOURS, for_s=24.0)), slow),
        "callback": (
            _one_call(_in_turn(_says("Can you call me back tomorrow?"), _says("Yes, please."))),
            {},
        ),
        "person": (_one_call(_says("Can I speak to a person?")), {}),
        "agent-hangs-up": (_one_call(_says("Thank you, goodbye.")), {}),
        "caller-hangs-up": (_one_call(_hangs_up), {}),
        "caller-silent": (_one_call(_says_nothing), {}),
        "line-lost": (_one_call(_loses_the_line), {}),
        "recorded": (_as_drilled, {"agent": {"recording": {"enabled": True}}}),
    }
    for name, (plays_it, changes) in plays.items():
        plan = CallPlan.BARGE_IN if name == "barge-in" else CallPlan.TURN
        row = Row(name=name, title="Nothing breaks", plan=plan)
        yield GoldenCall(row=row, play=plays_it, changes=changes)


def _broken_calls() -> Iterator[GoldenCall]:
    known = {row.name: row for row in FULL}
    for name in DRILLED:
        yield GoldenCall(row=known[name], play=_as_drilled)
    no_model = each_of(("openai", "openai-b"), REFUSE)
    menu = Row(name="outage-menu", title="No model: a key is pressed in the menu", breaks=no_model)
    yield GoldenCall(row=menu, play=_uses_the_menu)


CALLS: Final = {call.row.name: call for call in (*_healthy_calls(), *_broken_calls())}


async def play_golden(call: GoldenCall, golden: GoldenRig) -> MeasuredRun:
    """Play a call to its end, and wait until the server has finished with it."""
    await call.play(golden, run := MeasuredRun())
    await asyncio.sleep(SETTLE_S)  # virtual
    return run
