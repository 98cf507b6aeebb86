"""Fields of each log line next to its message, as text and as JSON."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from calls.entry import Entry
from calls.events import (
    CallEnded,
    CallerStarted,
    CallStarted,
    Event,
    TranscriptFinal,
    TurnDecided,
)
from configuration.known_secrets import KNOWN
from fallbacks.events import AttemptFailed, AttemptWon, BreakerMoved, RungChosen, RungFollowed
from fallbacks.failure import Kind, Scope, Severity
from operations.telemetry import logs
from operations.telemetry.logs import LogFields

KEY = "canary-of-a-key-1234"
FAILED = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.AUTH, scope=Scope.CREDENTIAL, after_s=0.1,
    attempt=7, severity=Severity.HIGH, reason=f"401 {KEY}",
)  # fmt: skip
OPENED = BreakerMoved(
    stage="tts", provider="cartesia", before="closed", after="open", cause="tripped", after_s=9.0
)
SPOKE = CallerStarted(at_s=1.0)
DECIDED = TurnDecided(turn=1, at_s=2.0)


def entry(event: Event, call_id: str = "c1") -> Entry:
    return Entry(call_id=call_id, number=1, at="2026-01-01T00:00:00.000+00:00", event=event)


def read(*events: Event) -> list[dict[str, Any]]:
    fields = LogFields()
    return [dict(fields.read(entry(event))) for event in events]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    logs.set_up(level="DEBUG", folder=tmp_path)
    yield tmp_path
    logger.remove()


def written(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    logs.flush()
    text = (folder / "holdline.log").read_text().splitlines()
    lines = (folder / "holdline.jsonl").read_text().splitlines()
    return text, [json.loads(line) for line in lines]


def test_a_failure_has_its_place_and_its_breakers_state() -> None:
    *_, failed = read(SPOKE, DECIDED, SPOKE, SPOKE, OPENED, FAILED)

    assert failed == {
        "call_id": "c1",
        "turn": 2,
        "stage": "tts",
        "provider": "cartesia",
        "attempt": 7,
        "failure_kind": "auth",
        "breaker": "open",
    }


def test_a_breaker_is_as_this_process_last_moved_it_or_followed_another() -> None:
    followed = [
        RungFollowed(stage="tts", provider="cartesia", breaker=state, suspect=False)
        for state in ("half_open", "closed", "open")
    ]
    lines = read(OPENED, *followed, FAILED)

    assert [line["breaker"] for line in lines] == ["open", "half_open", "closed", "open", "open"]


def test_a_failovers_provider_is_the_new_one() -> None:
    _, chosen, won = read(
        OPENED,
        RungChosen(stage="tts", before="cartesia", after="elevenlabs", cause="auth"),
        AttemptWon(stage="tts", provider="elevenlabs", attempt=8, after_s=0.2),
    )

    assert (chosen["provider"], chosen["breaker"]) == ("elevenlabs", "closed")
    assert won["attempt"] == 8


def test_an_ended_call_is_forgotten() -> None:
    fields = LogFields()
    for item in (SPOKE, CallEnded(reason="caller_hung_up", length_s=1.0)):
        fields.read(entry(item))

    assert fields.read(entry(FAILED))["turn"] == 0


def test_an_event_of_an_ended_call_does_not_start_a_call() -> None:
    fields = LogFields()
    for item in (SPOKE, CallEnded(reason="caller_hung_up", length_s=1.0), FAILED):
        fields.read(entry(item))

    assert list(fields._calls.live) == []


async def test_both_forms_have_the_fields(folder: Path) -> None:
    KNOWN.learn([KEY])
    log = logs.Log()
    for item in (SPOKE, OPENED, FAILED):
        await log.hear(entry(item))

    text, lines = written(folder)
    assert "c1 AttemptFailed turn=1 breaker=open cartesia rejects its key" in text[-1]
    assert lines[-1] | {"timestamp": "", "message": ""} == {
        "timestamp": "",
        "level": "DEBUG",
        "logger": "operations.telemetry.logs",
        "call_id": "c1",
        "turn": 1,
        "stage": "tts",
        "provider": "cartesia",
        "attempt": 7,
        "failure_kind": "auth",
        "breaker": "open",
        "message": "",
    }
    assert KEY not in json.dumps(lines) + "".join(text)


def test_a_librarys_line_in_a_call_names_the_call(folder: Path) -> None:
    with logger.contextualize(call_id="c1"):
        logging.getLogger("somebody").error("a mistake")
    logging.getLogger("somebody").error("another one")

    text, lines = written(folder)
    assert [line["call_id"] for line in lines] == ["c1", None]
    assert text[0].endswith("a mistake [call c1]")
    assert text[1].endswith("another one")


def test_a_traceback_is_in_its_own_line_of_json(folder: Path) -> None:
    KNOWN.learn([KEY])
    logger.opt(exception=ValueError(f"no {KEY}\nat all")).error("it failed")

    _, (line,) = written(folder)
    assert line["message"] == "it failed"
    assert line["trace"][-1].strip() == r"ValueError: no [redacted]\nat all"


def test_stderr_may_be_json_for_a_collector(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(level="INFO", folder=None, json_lines=True)
    logger.warning("a {} of <red>words</red>", "line")
    logs.flush()
    logger.remove()

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "a line of <red>words</red>"


@pytest.mark.parametrize(("words", "said"), [(False, "[4 words]"), (True, "my cat is Anna")])
async def test_words_are_in_the_log_only_if_configured(
    folder: Path, *, words: bool, said: str
) -> None:
    log = logs.Log(words=words)
    heard = TranscriptFinal(turn=1, at_s=0.0, provider="deepgram", text="my cat is Anna")
    await log.hear(entry(heard))
    await log.hear(entry(CallStarted(transport="twilio", agent="a", caller="+15551234567")))

    text, lines = written(folder)
    assert said in text[0]
    assert said in lines[0]["message"]
    assert "5551234567" not in json.dumps(lines) + "".join(text)
