"""The fault matrix: every row of the drill, with its targets."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from lab.drill import matrix_calls
from lab.drill.breaks import (
    AHEAD_S,
    CUT_WORDS,
    HUNG,
    REFUSE,
    SENTENCE_S,
    SILENT,
    STANDBYS,
    TAKEN_OVER_S,
    given_at_once,
    llm,
    replayed,
    stt,
    tts,
)
from lab.drill.rows import (
    EVERY_WORD,
    HEALTHY,
    NEVER_SILENT,
    Break,
    CallPlan,
    Row,
    Target,
    When,
    extra,
    gap,
    one_turn,
)
from lab.drill.servers import STOCK

FIRST_SENTENCE: Final = 5  # words: "A haircut costs forty euros."
SPOKEN_S: Final = 0.7  # into the question, which takes 1.2 s
LATER_THAN_USUAL: Final = (
    "one in twenty varying delays exceeds its rung's p95; the standby is then asked as well, so"
    " that the caller need not wait"
)


def _healthy_rows() -> Iterator[Row]:
    """Yield the rows without a fault; others are compared with the first one."""
    yield Row(
        name=HEALTHY,
        title="Nothing",
        plan=CallPlan.HEALTHY,
        alone=True,
        targets=(
            EVERY_WORD,
            NEVER_SILENT,
            Target(measure="standby_requests", worst=0),
            Target(
                measure="first_word_s",
                p50=0.015,
                worst=0.040,
                over=(HEALTHY, "first_word_s"),
                side=STOCK,
            ),
        ),
    )
    yield Row(
        name="healthy-varied",
        title="Nothing; varying delays",
        plan=CallPlan.HEALTHY,
        steady=False,
        targets=(
            EVERY_WORD,
            NEVER_SILENT,
            Target(measure="standby_requests", worst=0, if_missed=LATER_THAN_USUAL),
            Target(measure="fillers", worst=0),
        ),
    )


def _language_model() -> Iterator[Row]:
    """Yield rows with broken language models."""
    refusals: Mapping[str, Mapping[str, Any]] = {
        "refused": REFUSE,
        "5xx": {"fault": "http", "status": 503},
        "429": {"fault": "http", "status": 429, "retry_after_s": 20},
        "401": {"fault": "http", "status": 401},
    }
    for name, window in refusals.items():
        yield one_turn(f"llm-{name}", f"LLM {name}", llm(window), extra(0.3))
    yield one_turn("llm-silent", "LLM silent", llm(SILENT), extra(0.7))
    yield one_turn("llm-alive", "LLM alive but no words", llm({"fault": "alive"}), extra(0.7))
    yield one_turn(
        "llm-no-speech",
        "LLM ends its answer with a tag",
        llm({"fault": "adds"}),
        extra(0.3),
        Target(measure="standby_requests", worst=0),
    )
    for words in (1, 4, 11):
        yield _broken_model("cut", words, within_s=0.5)
        yield _broken_model("stall", words, within_s=0.9)


def _long_replies() -> Iterator[Row]:
    """Yield rows whose model writes on and on."""
    bounds = (Target(measure="ahead_s", worst=AHEAD_S + SENTENCE_S), given_at_once())
    for name, same, longest_s in (("llm-endless", False, 75.0), ("llm-repeats", True, 25.0)):
        yield Row(
            name=name,
            title=f"LLM writes {'one sentence again and again' if same else '2,500 words'}",
            plan=CallPlan.ENDLESS,
            breaks=llm({"fault": "endless", "same": same}),
            targets=(
                Target(measure="reply_s", worst=longest_s),
                *bounds,
                gap(0.3),
                EVERY_WORD,
                NEVER_SILENT,
            ),
        )


def _broken_model(fault: str, words: int, *, within_s: float) -> Row:
    """Return a row with a model that breaks inside its answer.

    A break before the end of the first sentence delays the first word, because no audio exists yet.
    A later break may cause a gap.
    """
    how = {"cut": "cut", "stall": "stalled"}[fault]
    title = f"LLM {how} after {words} {'word' if words == 1 else 'words'}"
    bounds = [gap(within_s), extra(within_s)] if words < FIRST_SENTENCE else [gap(within_s)]
    breaks = llm({"fault": fault, "after_words": words})
    return one_turn(f"llm-{fault}-{words}", title, breaks, *bounds)


def _voice_rows() -> Iterator[Row]:
    """Yield rows with broken voices; limits are seconds."""
    dead = tts({"fault": "reset"}, When.AT_STOP)
    yield one_turn("tts-refused", "TTS refused", tts(REFUSE), extra(0.4))
    yield one_turn("tts-dead", "TTS dead at turn start", dead, extra(0.4))
    yield one_turn("tts-silent", "TTS silent", tts(SILENT), extra(0.8))
    for how in ("reset", "close", "error"):
        window = {"fault": "cut", "after_words": CUT_WORDS, "how": how}
        yield one_turn(f"tts-cut-{how}", f"TTS cut in mid-utterance ({how})", tts(window), gap(0.3))
    inside = {"fault": "cut", "after_words": CUT_WORDS, "inside_word": True}
    yield one_turn("tts-cut-inside", "TTS cut inside a word", tts(inside), gap(0.3))
    stall = {"fault": "stall", "after_words": CUT_WORDS}
    yield one_turn("tts-stall", "TTS stalled in mid-utterance", tts(stall), gap(0.6))
    skips = {"fault": "leave_out", "after_words": CUT_WORDS, "words": 2}
    yield one_turn("tts-leave-out", "TTS leaves two words out", tts(skips), gap(0.6))


def _recogniser_rows() -> Iterator[Row]:
    """Yield rows with broken recognisers and standbys, and one whose noise must break nothing."""
    asked = Target(measure="misheard", worst=0)
    dead = stt(REFUSE, When.SPOKEN, after_s=SPOKEN_S)
    uncapped = one_turn("stt-dead", "STT dead in mid-utterance, intake uncapped", dead, asked)
    yield replace(uncapped, targets=(*uncapped.targets, extra(TAKEN_OVER_S)), uncapped=True)
    yield one_turn("stt-dead-capped", "STT dead in mid-utterance", dead, asked, replayed(SPOKEN_S))
    yield one_turn("stt-mute", "STT mute from the start", stt(SILENT), asked, extra(1.2))
    greeting = Target(measure="greeting_s", worst=0.2, over=(HEALTHY, "greeting_s"))
    starts = {
        "stt-refused-start": ("STT refused at call start", ("deepgram",), REFUSE),
        "stt-hung-start": ("STT hung at call start", ("deepgram",), HUNG),
        "standby-hung-start": ("Every standby hung", tuple(STANDBYS.values()), HUNG),
    }
    for name, (title, names, window) in starts.items():
        breaks = tuple(Break(provider=item, window=window, when=When.BEFORE_CALL) for item in names)
        targets = (greeting, EVERY_WORD, NEVER_SILENT)
        yield Row(name=name, title=title, plan=CallPlan.START, breaks=breaks, targets=targets)
    counted = Target(measure="failures", worst=0)
    yield Row(
        name="noise",
        title="3 s of noise, nothing broken",
        plan=CallPlan.NOISE,
        targets=(EVERY_WORD, NEVER_SILENT, counted),
    )


FULL: Final[tuple[Row, ...]] = (
    *_healthy_rows(),
    *_language_model(),
    *_long_replies(),
    *_voice_rows(),
    *_recogniser_rows(),
    *matrix_calls.build_rows(),
)
