"""What is asked of a model about a call that has ended, and how its answer is read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from calls.tool_schema import problems
from calls.words import clean
from campaigns.window import zone_of
from operations.after_call.outcome_rules import (
    ANSWER_CHARACTERS,
    NOTES_CHARACTERS,
    SUMMARY_CHARACTERS,
    ResultQuestion,
)

LATEST: Final = timedelta(days=366)  # that somebody may want to be called back
SOONEST: Final = timedelta(hours=-1)  # a model that reckons a moment before the end means now


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """What a model said a call came to."""

    summary: str
    outcome: str
    callback_at_s: float | None
    notes: str


def local_time(utc_s: float, zone: str) -> datetime:
    """Return a moment by the clock of a place; by UTC if this machine does not know the zone."""
    return datetime.fromtimestamp(utc_s, zone_of(zone) or UTC)


def question_of(codes: Sequence[str], goals: Sequence[str], ended: datetime) -> ResultQuestion:
    """Return what is asked about a call that ended at this moment."""
    return ResultQuestion(
        codes=codes,
        goals=goals,
        ended=ended.isoformat(timespec="minutes"),
        weekday=f"{ended:%A}",
    )


def read_answer(text: str, question: ResultQuestion, ended: datetime) -> ReadAnswer | str:
    """Return what a model wrote, or what is wrong with it, in words that it can act on."""
    said = _object(text)
    if said is None:
        return "the answer must be one JSON object"
    wrong = problems(said, question.schema, where="answer")
    if wrong:
        return "; ".join(wrong)
    moment = read_moment(said.get("callback_at"), ended)
    if isinstance(moment, str):
        return moment
    summary = clean(said["summary"], SUMMARY_CHARACTERS)
    if not summary:
        return "answer.summary holds no words"
    return ReadAnswer(
        summary=summary,
        outcome=said["outcome"],
        callback_at_s=moment.timestamp() if moment else None,
        notes=clean(said.get("notes") or "", NOTES_CHARACTERS),
    )


def read_moment(text: str | None, ended: datetime) -> datetime | str | None:
    """Return when somebody wants to be called back; None: no time; a text: what is wrong with it.

    Args:
        text: As a model wrote it.
        ended: The call's end by the other party's clock: a moment without an offset is meant there.
    """
    if not text or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return "answer.callback_at must be ISO 8601, or null"
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ended.tzinfo or UTC)
    if not ended + SOONEST <= moment <= ended + LATEST:
        return "answer.callback_at must be behind the call's end, by a year at most, or null"
    return max(moment, ended)


def _object(text: str) -> Mapping[str, Any] | None:
    """Return the object in an answer; models put fences around it, and words before it."""
    begin, end = text.find("{"), text.rfind("}")
    if not 0 <= begin < end or len(text) > ANSWER_CHARACTERS:
        return None
    try:
        found = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
