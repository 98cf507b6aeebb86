"""The measures of one run; pure, except that `misheard` reads the lab's record."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lab.control import LabControl
from lab.drill.breaks import STANDBYS
from lab.drill.evidence import JudgedTurn
from lab.drill.hearing import bare_words
from lab.drill.rig import AskedTurn, Conversation
from lab.drill.rows import LOST
from lab.drill.sound import RATE_HZ, stretches

QUIET_FOR_S: Final = 0.3  # the agent is not quiet in a shorter pause


@dataclass(slots=True)
class MeasuredRun:
    """The results of one run: its measures by name, and its turns."""

    measures: dict[str, float] = field(default_factory=dict)
    turns: list[JudgedTurn] = field(default_factory=list)

    def add(self, judged: JudgedTurn) -> JudgedTurn:
        """Add a turn, count it in the measures that all plans share, and return it."""
        self.turns.append(judged)
        verdict = judged.verdict
        measures = self.measures
        measures["lost_turns"] = measures.get("lost_turns", 0.0) + (not verdict.whole)
        gap_s = LOST if verdict.missing else verdict.gap_s  # a missing word is an endless gap
        measures["gap_s"] = max(measures.get("gap_s", 0.0), gap_s)
        measures["fillers"] = measures.get("fillers", 0.0) + len(verdict.other)
        first_s = LOST if verdict.first_speech_s is None else verdict.first_speech_s
        measures["first_speech_s"] = max(measures.get("first_speech_s", 0.0), first_s)
        measures["turns"] = len(self.turns)
        measures["requests"] = measures.get("requests", 0.0) + len(judged.requests)
        standby = sum(asked.provider in STANDBYS.values() for asked in judged.requests)
        measures["standby_requests"] = measures.get("standby_requests", 0.0) + standby
        return judged


def first_word_s(judged: JudgedTurn) -> float:
    """Return the delay from the caller's stop to the reply's first word; `LOST` without one."""
    return LOST if judged.verdict.first_word_s is None else judged.verdict.first_word_s


def first_speech_after(call: Conversation, stop_s: float) -> float:
    """Return the delay until the agent was heard, fillers and clips included; or `LOST`."""
    speech = stretches(call.heard(), from_s=stop_s)
    return speech[0][0] - stop_s if speech else LOST


def quiet_after(call: Conversation, turn: AskedTurn) -> float:
    """Return how long the agent kept talking after the caller began; 0 if it was quiet then.

    Its pauses of up to `QUIET_FOR_S` count as talking.
    """
    end_s = turn.began_s
    for start_s, until_s in stretches(call.heard(), from_s=turn.began_s):
        if start_s - end_s > QUIET_FOR_S:
            break
        end_s = until_s
    return end_s - turn.began_s


def end_of_speech(call: Conversation) -> float:
    """Return when the agent was last heard; the current time of the call if it never was."""
    speech = stretches(call.heard())
    return speech[-1][1] if speech else call.now_s


async def misheard(control: LabControl, call: Conversation, turn: AskedTurn) -> float:
    """Return 1 if a model got other words than the caller's, or no model was asked; else 0."""
    since_s = call.lab_s(turn.began_s)
    asked = [
        bare_words(request["details"]["asked"])
        for name in control.names
        for request in await control.requests(name)
        if request["at_s"] >= since_s and "asked" in request["details"]
    ]
    wanted = bare_words(turn.question)
    return float(not asked or any(item != wanted for item in asked))


def or_lost(at_s: float | None) -> float:
    """Return a moment; for `None`, `LOST`, which is beyond any target."""
    return LOST if at_s is None else at_s


def last(voices: Sequence[str]) -> str:
    """Return the last voice; empty if none spoke."""
    return voices[-1] if voices else ""


def changes(voices: Sequence[str]) -> int:
    """Return how often the voice changed."""
    return sum(before != after for before, after in itertools.pairwise(voices))


def speech_of(judged: JudgedTurn) -> list[tuple[float, float]]:
    """Return when the agent was heard in a turn, in seconds from the caller's stop."""
    stop_s = judged.turn.stop_s - judged.turn.began_s
    spans = stretches(judged.recording)
    return [(a - stop_s, b - stop_s) for a, b in spans]


def length_of(judged: JudgedTurn) -> float:
    """Return how long a turn was listened to, in seconds."""
    return judged.recording.size / RATE_HZ
