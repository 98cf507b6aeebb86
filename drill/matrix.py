"""The fault matrix: every row that the drill knows, with its targets."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from drill.rows import (
    EVERY_WORD,
    HEALTHY,
    NEVER_SILENT,
    Break,
    Plan,
    Row,
    Target,
    When,
    extra,
    gap,
)
from drill.servers import STOCK
from fallbacks.ladder import FLOOR

ALL: Final = ("deepgram", "deepgram-b", "openai", "openai-b", "cartesia", "elevenlabs")
REFUSE: Final = {"fault": "refuse"}
SILENT: Final = {"fault": "silent"}
HUNG: Final = {"fault": "silent", "where": "handshake"}
CUT_WORDS: Final = 7  # "A haircut costs forty euros. It takes | about half an hour, ..."
SPOKEN_S: Final = 0.7  # of 1.2: in the middle of the question
BACKLOG_S: Final = SPOKEN_S + 0.5  # what is replayed then: the ring holds 0.5 s before the speech
SPREAD_S: Final = 0.05  # between healthy turns, measured: -0.06 to 0.06 of their median
CAP: Final = 1.25  # times real time; deepgram-docs, "Recovering from connection errors"


def llm(window: Mapping[str, Any]) -> tuple[Break, ...]:
    """Break the first language model before the caller speaks."""
    return (Break(provider="openai", window=window),)


def tts(window: Mapping[str, Any], when: When = When.BEFORE_TURN) -> tuple[Break, ...]:
    """Break the first voice."""
    return (Break(provider="cartesia", window=window, when=when),)


def stt(
    window: Mapping[str, Any], when: When = When.BEFORE_TURN, *, after_s: float = 0.0
) -> tuple[Break, ...]:
    """Break the first recogniser."""
    return (Break(provider="deepgram", window=window, when=when, after_s=after_s),)


def as_healthy(measure: str) -> Target:
    """Bound a first word that nothing is to delay; one turn alone may differ from another."""
    usual = (HEALTHY, measure)
    return Target(measure="first_word_s", p50=0.05, worst=0.05 + SPREAD_S, over=usual)


def _healthy() -> Iterator[Row]:
    yield Row(
        name=HEALTHY,
        title="Nothing",
        plan=Plan.HEALTHY,
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
        title="Nothing; delays as they vary",
        plan=Plan.HEALTHY,
        steady=False,
        targets=(
            EVERY_WORD,
            Target(measure="standby_requests", worst=FLOOR),  # one in twenty is later than the p95
            Target(measure="fillers", worst=0),
        ),
    )


def _language_model() -> Iterator[Row]:
    refusals: Mapping[str, Mapping[str, Any]] = {
        "refused": REFUSE,
        "5xx": {"fault": "http", "status": 503},
        "429": {"fault": "http", "status": 429, "retry_after_s": 20},
        "401": {"fault": "http", "status": 401},
    }
    for name, window in refusals.items():
        yield _turn(f"llm-{name}", f"LLM {name}", llm(window), extra(0.3))
    yield _turn("llm-silent", "LLM silent", llm(SILENT), extra(0.7))
    yield _turn("llm-alive", "LLM alive but no words", llm({"fault": "alive"}), extra(0.7))
    for words in (1, 4, 11):
        cut = {"fault": "cut", "after_words": words}
        stall = {"fault": "stall", "after_words": words}
        yield _turn(f"llm-cut-{words}", f"LLM cut after {words} words", llm(cut), gap(0.5))
        yield _turn(f"llm-stall-{words}", f"LLM stalled after {words} words", llm(stall), gap(0.9))


def _voices() -> Iterator[Row]:
    dead = tts({"fault": "reset"}, When.AT_STOP)
    yield _turn("tts-refused", "TTS refused", tts(REFUSE), extra(0.4))
    yield _turn("tts-dead", "TTS dead at turn start", dead, extra(0.4))
    yield _turn("tts-silent", "TTS silent", tts(SILENT), extra(0.8))
    for how in ("reset", "close", "error"):
        window = {"fault": "cut", "after_words": CUT_WORDS, "how": how}
        yield _turn(f"tts-cut-{how}", f"TTS cut in mid-utterance ({how})", tts(window), gap(0.3))
    inside = {"fault": "cut", "after_words": CUT_WORDS, "inside_word": True}
    yield _turn("tts-cut-inside", "TTS cut inside a word", tts(inside), gap(0.3))
    stall = {"fault": "stall", "after_words": CUT_WORDS}
    yield _turn("tts-stall", "TTS stalled in mid-utterance", tts(stall), gap(0.6))


def _recognisers() -> Iterator[Row]:
    asked = Target(measure="misheard", worst=0)
    dead = stt(REFUSE, When.SPOKEN, after_s=SPOKEN_S)
    uncapped = _turn("stt-dead", "STT dead in mid-utterance, intake uncapped", dead, asked)
    yield replace(uncapped, targets=(*uncapped.targets, extra(0.4)), uncapped=True)
    capped = 0.4 + BACKLOG_S / CAP
    yield _turn("stt-dead-capped", "STT dead in mid-utterance", dead, asked, extra(capped))
    yield _turn("stt-mute", "STT mute from the start", stt(SILENT), asked, extra(1.2))
    greeting = Target(measure="greeting_s", worst=0.2, over=(HEALTHY, "greeting_s"))
    standbys = ("deepgram-b", "openai-b", "elevenlabs")
    starts = {
        "stt-refused-start": ("STT refused at call start", ("deepgram",), REFUSE),
        "stt-hung-start": ("STT hung at call start", ("deepgram",), HUNG),
        "standby-hung-start": ("Every standby hung", standbys, HUNG),
    }
    for name, (title, names, window) in starts.items():
        breaks = tuple(Break(provider=each, window=window, when=When.BEFORE_CALL) for each in names)
        targets = (greeting, EVERY_WORD)
        yield Row(name=name, title=title, plan=Plan.START, breaks=breaks, targets=targets)
    counted = Target(measure="failures", worst=0)
    yield Row(
        name="noise",
        title="3 s of noise, nothing broken",
        plan=Plan.NOISE,
        targets=(EVERY_WORD, counted),
    )


def _outages() -> Iterator[Row]:
    silence = Target(measure="silence_s", worst=4.0)
    everything = tuple(Break(provider=each, window=REFUSE) for each in ALL)
    yield Row(
        name="all-dead",
        title="Everything dead",
        plan=Plan.ALL_DEAD,
        breaks=everything,
        targets=(NEVER_SILENT, silence),
    )
    for stage, breaks in (("stt", stt(SILENT)), ("llm", llm(SILENT)), ("tts", tts(SILENT))):
        for what, plan in (("turn", Plan.SECOND_TURN), ("call", Plan.SECOND_CALL)):
            yield Row(
                name=f"second-{what}-{stage}",
                title=f"{stage.upper()} silent: the second {what}",
                plan=plan,
                breaks=breaks,
                targets=(as_healthy(f"second_{what}_s"), EVERY_WORD, NEVER_SILENT),
            )
    both = (*llm({"fault": "http", "status": 503}), *tts({"fault": "cut", "after_words": 7}))
    yield _turn("two-stages", "LLM 503 and TTS cut in one turn", both, extra(1.0))
    flapping = {**REFUSE, "pattern": {"on_s": 3, "off_s": 3}}
    switches = Target(measure="switches", worst=1)
    yield Row(
        name="flapping",
        title="TTS dies and comes back every 3 s",
        plan=Plan.FLAPPING,
        breaks=tts(flapping),
        targets=(EVERY_WORD, switches, NEVER_SILENT),
    )
    third = {"fault": "http", "status": 503, "p": 0.3}
    yield Row(
        name="thirty-percent",
        title="30 % of all requests fail",
        plan=Plan.CHANCE,
        breaks=tuple(Break(provider=each, window=third, when=When.BEFORE_CALL) for each in ALL),
        targets=(EVERY_WORD, Target(measure="in_budget", worst=0.95, least=True)),
        steady=False,
    )


def _crowd() -> Iterator[Row]:
    window = {"fault": "cut", "after_words": 4}
    yield Row(
        name="eight-at-once",
        title="Eight calls at once, TTS cut in all of them",
        plan=Plan.CROWD,
        alone=True,
        breaks=tts(window),
        targets=(EVERY_WORD, gap(0.3), NEVER_SILENT),
    )


def _barge_ins() -> Iterator[Row]:
    quiet = Target(measure="quiet_s", p50=0.35, worst=0.45)
    counted = Target(measure="failures_after", worst=0)
    spoke = Target(measure="nothing_to_break", worst=0)
    cut = tts({"fault": "cut", "after_words": 4})
    no_model = tuple(Break(provider=each, window=SILENT) for each in ("openai", "openai-b"))
    cases = {
        "failover": ("during failover", cut, 0.4),
        "clip": ("during a clip", no_model, 0.1),
        "resumed": ("during a resumed sentence", cut, 3.0),
    }
    for name, (title, breaks, audible_s) in cases.items():
        yield Row(
            name=f"barge-in-{name}",
            title=f"Barge-in {title}",
            plan=Plan.BARGE_IN,
            breaks=breaks,
            targets=(quiet, spoke, EVERY_WORD, counted),
            audible_s=audible_s,
        )


def _recovery() -> Iterator[Row]:
    yield Row(
        name="recovery",
        title="TTS recovers",
        plan=Plan.RECOVERY,
        breaks=tts(REFUSE),
        targets=(
            Target(measure="voice_changed", worst=0),
            Target(measure="next_call_elsewhere", worst=0),
            EVERY_WORD,
        ),
    )


def _turn(name: str, title: str, breaks: tuple[Break, ...], *targets: Target) -> Row:
    return Row(name=name, title=title, breaks=breaks, targets=(*targets, EVERY_WORD, NEVER_SILENT))


FULL: Final[tuple[Row, ...]] = (
    *_healthy(),
    *_language_model(),
    *_voices(),
    *_recognisers(),
    *_outages(),
    *_crowd(),
    *_barge_ins(),
    *_recovery(),
)
