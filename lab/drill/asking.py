"""Asks a question in a call of the drill, and adds the judged turn to the run."""

from lab.drill.evidence import JudgedTurn, judge_turn
from lab.drill.measured import MeasuredRun, first_word_s, misheard
from lab.drill.rig import Conversation, Rig
from lab.drill.rows import When


async def ask_and_judge(
    rig: Rig, call: Conversation, run: MeasuredRun, question: str
) -> JudgedTurn:
    """Ask, listen, judge, and add the turn to the run."""
    turn = await call.ask(question)
    return run.add(await judge_turn(call, rig.control, turn))


async def ask_broken(rig: Rig, call: Conversation, run: MeasuredRun) -> JudgedTurn:
    """Ask the row's question, and start the faults of this turn before, during or after it.

    Measures the answer's first word, and whether a model got other words than the caller's.
    """
    await rig.break_now(When.BEFORE_TURN)
    turn = await call.ask(rig.row.question, at=rig.timed())
    judged = run.add(await judge_turn(call, rig.control, turn))
    run.measures["first_word_s"] = first_word_s(judged)
    run.measures["misheard"] = await misheard(rig.control, call, turn)
    return judged
