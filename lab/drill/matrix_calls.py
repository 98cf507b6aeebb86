"""The rows with more than one turn or call, with several faults, or on another leg."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from lab.drill.breaks import (
    ALL,
    CUT_WORDS,
    HUNG,
    REFUSE,
    SILENT,
    each_of,
    given_at_once,
    llm,
    replayed,
    stt,
    tts,
)
from lab.drill.rows import (
    EVERY_WORD,
    HAIRCUT,
    HEALTHY,
    NEVER_SILENT,
    WORKER,
    Break,
    CallPlan,
    Row,
    Target,
    When,
    extra,
    gap,
    one_turn,
)

QUESTION_S: Final = 1.2  # "How much is a haircut?"
FLAPS: Final = {**REFUSE, "pattern": {"on_s": 3, "off_s": 3}}
IN_FLIGHT: Final = 5  # words that may be heard twice: the heard position is stored twice a second
LATE: Final = {"fault": "slow_start", "delay_s": 2.0}  # an answer beyond the budget
RECOGNISER_PROBES: Final = {"path": "sample_rate=16000"}  # restricts a fault; calls use 8000 Hz
VOICE_PROBES: Final = {"path": "#probe"}  # restricts a fault to these, by their context
ANOTHER_MOMENT: Final = (
    "healthy turns, too, differ from their median by up to 0.06 s, depending on when the recogniser"
    " and the turn detector get the processor"
)


def build_rows() -> Iterator[Row]:
    """Yield these rows in the order of the table."""
    yield from _outage_rows()
    yield from _second_callers()
    yield from _judged_by_probes()
    yield from _flapping_rows()
    yield from _crowd_rows()
    yield from _barge_ins()
    yield from _mistakable_rows()
    yield from _recovery_rows()
    yield from _dying_workers()
    yield _clips_row()
    yield _loopback_row()


def _outage_rows() -> Iterator[Row]:
    """Yield rows in which several providers fail at once."""
    silence = Target(measure="silence_s", worst=4.0)
    for name, title, window in (
        ("all-dead", "Everything dead", REFUSE),
        ("all-hung", "Everything hangs", HUNG),
    ):
        yield Row(
            name=name,
            title=title,
            plan=CallPlan.ALL_DEAD,
            breaks=each_of(ALL, window),
            targets=(NEVER_SILENT, silence),
        )
    both = (*llm({"fault": "http", "status": 503}), *tts({"fault": "cut", "after_words": 7}))
    yield one_turn("two-stages", "LLM 503 and TTS cut in one turn", both, extra(1.0))
    third = {"fault": "http", "status": 503, "p": 0.3}
    yield Row(
        name="thirty-percent",
        title="30 % of all requests fail",
        plan=CallPlan.CHANCE,
        breaks=tuple(Break(provider=item, window=third, when=When.BEFORE_CALL) for item in ALL),
        targets=(EVERY_WORD, NEVER_SILENT, Target(measure="in_budget", worst=0.95, least=True)),
        steady=False,
    )


def _second_callers() -> Iterator[Row]:
    """Yield rows whose second turn or call must not notice the fault that the first one met."""
    for stage, breaks in (("stt", stt(SILENT)), ("llm", llm(SILENT)), ("tts", tts(SILENT))):
        for what, plan in (("turn", CallPlan.SECOND_TURN), ("call", CallPlan.SECOND_CALL)):
            as_healthy = Target(
                measure="first_word_s",
                worst=0.05,
                over=(HEALTHY, f"second_{what}_s"),
                if_missed=ANOTHER_MOMENT,
            )
            yield Row(
                name=f"second-{what}-{stage}",
                title=f"{stage.upper()} silent: the second {what}",
                plan=plan,
                breaks=breaks,
                targets=(as_healthy, EVERY_WORD, NEVER_SILENT),
            )


def _judged_by_probes() -> Iterator[Row]:
    """Yield rows in which only probes still fail: the callers' success must close the breakers."""
    greeting = Target(measure="greeting_s", worst=0.3, over=(HEALTHY, "greeting_s"))
    closed = Target(measure="closed", worst=1, least=True)
    probes: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
        "stt": (("deepgram", "deepgram-b"), {"fault": "http", "status": 503} | RECOGNISER_PROBES),
        "tts": (("cartesia", "elevenlabs"), {"fault": "error_event"} | VOICE_PROBES),
    }
    for stage, (names, window) in probes.items():
        outage = each_of(names, REFUSE, When.BEFORE_CALL)
        yield Row(
            name=f"{stage}-probes",
            title=f"Every {stage.upper()} has recovered, but its probes fail",
            plan=CallPlan.PROBES,
            breaks=(*outage, *each_of(names, window, When.NEXT_CALL)),
            targets=(closed, greeting, extra(0.3), EVERY_WORD, NEVER_SILENT),
        )


def _flapping_rows() -> Iterator[Row]:
    """Yield a row for each stage whose provider fails and recovers repeatedly."""
    asked = Target(measure="misheard", worst=0)
    cases = {
        "stt": (stt(FLAPS), (asked, replayed(QUESTION_S))),
        "llm": (llm(FLAPS), (extra(0.5), gap(0.5))),  # it may die at any word, as in llm-cut-*
        "tts": (tts(FLAPS), (Target(measure="switches", worst=1), gap(0.3))),
    }
    for stage, (breaks, targets) in cases.items():
        yield Row(
            name=f"flapping-{stage}",
            title=f"{stage.upper()} dies and comes back every 3 s",
            plan=CallPlan.FLAPPING,
            breaks=breaks,
            targets=(EVERY_WORD, *targets, NEVER_SILENT),
        )


def _crowd_rows() -> Iterator[Row]:
    """Yield the row in which several callers meet the same fault at once."""
    window = {"fault": "cut", "after_words": 4}
    yield Row(
        name="eight-at-once",
        title="Eight calls at once, TTS cut in all of them",
        plan=CallPlan.CROWD,
        alone=True,
        breaks=tts(window),
        targets=(EVERY_WORD, gap(0.3), NEVER_SILENT),
    )


def _barge_ins() -> Iterator[Row]:
    """Yield rows in which the caller interrupts once `audible_s` of the agent were heard."""
    quiet = Target(measure="quiet_s", p50=0.35, worst=0.45)
    counted = Target(measure="failures_after", worst=0)
    spoke = Target(measure="nothing_to_break", worst=0)
    cut = tts({"fault": "cut", "after_words": 4})
    no_model = each_of(("openai", "openai-b"), SILENT)
    endless = (*llm({"fault": "endless"}), *cut)
    cases = {
        "failover": ("during failover", cut, 0.4),
        "clip": ("during a clip", no_model, 0.1),
        "resumed": ("during a resumed sentence", cut, 3.0),
        "endless": ("into a reply of 2,500 words that another voice resumed", endless, 6.0),
    }
    for name, (title, breaks, audible_s) in cases.items():
        given = (given_at_once(),) if name == "endless" else ()
        yield Row(
            name=f"barge-in-{name}",
            title=f"Barge-in {title}",
            plan=CallPlan.BARGE_IN,
            breaks=breaks,
            targets=(*given, quiet, spoke, EVERY_WORD, NEVER_SILENT, counted),
            audible_s=audible_s,
        )


def _mistakable_rows() -> Iterator[Row]:
    """Yield rows with sounds and pauses that must not be mistaken for a turn of the caller."""
    once = Target(measure="model_requests", worst=1)
    uncut = Target(measure="barge_ins", worst=0)
    yield Row(
        name="backchannel",
        title="The caller says okay while the agent answers",
        plan=CallPlan.BACKCHANNEL,
        targets=(EVERY_WORD, once, NEVER_SILENT),
        audible_s=2.0,
    )
    for level_db in (-12.0, -24.0):
        yield Row(
            name=f"echo-{-level_db:.0f}db",
            title=f"The line returns the agent's voice at {level_db:g} dB",
            plan=CallPlan.ECHO,
            targets=(EVERY_WORD, uncut, once, NEVER_SILENT),
            echo_db=level_db,
        )
    yield Row(
        name="dictation",
        title="The caller pauses for 1.2 s after each digit",
        plan=CallPlan.DICTATION,
        known=("My number is", "one", "two", "three", "four", "five"),
        targets=(Target(measure="spoken_over", worst=0), NEVER_SILENT),
    )
    yield Row(
        name="television",
        title="A voice in the background keeps talking",
        plan=CallPlan.BEHIND,
        known=(HAIRCUT,),  # the television's words are not recognised
        targets=(Target(measure="model_requests", worst=2), NEVER_SILENT),  # one of them early
    )


def _recovery_rows() -> Iterator[Row]:
    """Yield rows that measure whether a provider is used again after its recovery."""
    same_voice = Target(measure="voice_changed", worst=0)
    next_turn = Target(measure="next_turn_elsewhere", worst=0)
    next_call = Target(measure="next_call_elsewhere", worst=0)
    cases = {
        "stt": (stt(REFUSE), (next_turn, next_call)),
        "llm": (llm(REFUSE), (next_turn, next_call)),
        "tts": (tts(REFUSE), (same_voice, next_call)),  # a voice should not change twice
    }
    for stage, (breaks, targets) in cases.items():
        yield Row(
            name=f"recovery-{stage}",
            title=f"{stage.upper()} recovers",
            plan=CallPlan.RECOVERY,
            breaks=breaks,
            targets=(*targets, EVERY_WORD, NEVER_SILENT),
        )


def _dying_workers() -> Iterator[Row]:
    """Yield rows whose worker breaks: no word may be missing, a few may be heard twice."""
    spoke = Target(measure="nothing_to_break", worst=0)
    missing = Target(measure="words_missing", worst=0)
    twice = Target(measure="words_twice", worst=IN_FLIGHT)
    one_call = Target(measure="calls", worst=1)
    for fault, title, within_s in (("killed", "is killed", 2.5), ("frozen", "hangs", 5.0)):
        back = Target(measure="silence_s", worst=within_s)
        yield Row(
            name=f"worker-{fault}",
            title=f"The call's worker {title} in mid-answer",
            plan=CallPlan.WORKER,
            breaks=(Break(provider=WORKER, window={"fault": fault}, when=When.IN_ANSWER),),
            targets=(back, missing, twice, one_call, spoke, EVERY_WORD, NEVER_SILENT),
            runs=10,
        )


def _clips_row() -> Row:
    """Return a row in which clips, and no other speech, must hold the line for a late model."""
    heard = Target(measure="clips_heard", worst=1, least=True)
    other = Target(measure="not_clips", worst=0)
    return Row(
        name="clips",
        title="LLM late: rendered clips hold the line",
        plan=CallPlan.CLIPS,
        breaks=each_of(("openai", "openai-b"), LATE),
        targets=(heard, other, EVERY_WORD, NEVER_SILENT),
        clips=True,
    )


def _loopback_row() -> Row:
    cut = {"fault": "cut", "after_words": CUT_WORDS}
    row = one_turn(
        "loopback-cut", "TTS cut in mid-utterance, on the loopback leg", tts(cut), gap(0.3)
    )
    # Another run in the same process, or its judging, would cause gaps in the audio of this one.
    return replace(row, leg="loopback", alone=True)
