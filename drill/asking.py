"""Asks in a call of the drill, and keeps what became of it."""

from drill.conversation import Conversation
from drill.evidence import Judged, judged
from drill.measured import MeasuredRun, first_word_s, misheard
from drill.rows import When
from drill.stage import Stage


async def ask(stage: Stage, call: Conversation, run: MeasuredRun, question: str) -> Judged:
    """Ask, listen, judge, and count the turn."""
    turn = await call.ask(question)
    return run.add(await judged(call, stage.control, turn))


async def ask_broken(stage: Stage, call: Conversation, run: MeasuredRun) -> Judged:
    """Ask the row's question while what it breaks breaks, and measure."""
    await stage.break_now(When.BEFORE_TURN)
    turn = await call.ask(stage.row.question, at=stage.timed())
    each = run.add(await judged(call, stage.control, turn))
    run.measures["first_word_s"] = first_word_s(each)
    run.measures["misheard"] = await misheard(stage.control, call, turn)
    return each
