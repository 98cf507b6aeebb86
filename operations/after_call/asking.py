"""Asks a model for the result of a call, after its end and within a time limit."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, cast

from calls.caller import clean
from calls.cost import PriceTable, cost
from calls.events import UsageMeasured
from calls.tool_schema import problems
from calls.turn import Turn
from contacts.numbers import zone_named
from fallbacks.failure import Kind, Scope, ServiceError, error_of, failed, finding
from fallbacks.limits import Gate
from operations.after_call.outcome_rules import (
    ANSWER_CHARACTERS,
    NOTES_CHARACTERS,
    SUMMARY_CHARACTERS,
    ResultQuestion,
)
from operations.retrying import Retries, run_down_ladder
from providers.catalog import provider
from providers.provider import PenAnswer, PenQuestion, RungSpec

LATEST_CALLBACK: Final = timedelta(days=366)  # after the call's end
EARLIEST_CALLBACK: Final = timedelta(hours=-1)  # a time shortly before the end means now


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """A model's answer about the result of a call."""

    summary: str
    outcome: str
    callback_at_s: float | None
    notes: str


def local_time(utc_s: float, zone: str) -> datetime:
    """Return a moment in a zone's local time; in UTC if this machine does not know the zone."""
    return datetime.fromtimestamp(utc_s, zone_named(zone) or UTC)


def question_of(codes: Sequence[str], goals: Sequence[str], ended: datetime) -> ResultQuestion:
    """Return the question about a call that ended at this moment."""
    return ResultQuestion(
        codes=codes,
        goals=goals,
        ended=ended.isoformat(timespec="minutes"),
        weekday=f"{ended:%A}",
    )


def read_answer(text: str, question: ResultQuestion, ended: datetime) -> ReadAnswer | str:
    """Return a model's answer parsed, or else an error in words that the model can use.

    `ended` is the call's end, as for `read_moment`. Summary and notes are cleaned and cut.
    """
    answer = _json_object_in(text)
    if answer is None:
        return "the answer must be one JSON object"
    errors = problems(answer, question.schema, where="answer")
    if errors:
        return "; ".join(errors)
    moment = read_moment(answer.get("callback_at"), ended)
    if isinstance(moment, str):
        return moment
    summary = clean(answer["summary"], SUMMARY_CHARACTERS)
    if not summary:
        return "answer.summary has no words"
    return ReadAnswer(
        summary=summary,
        outcome=answer["outcome"],
        callback_at_s=moment.timestamp() if moment else None,
        notes=clean(answer.get("notes") or "", NOTES_CHARACTERS),
    )


def read_moment(text: str | None, ended: datetime) -> datetime | str | None:
    """Return the requested callback time, `None` if there is none, or an error.

    A time shortly before the call's end counts as its end.

    Args:
        text: The time as the model wrote it.
        ended: The call's end in the other party's local time, for times without an offset.
    """
    if not text or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return "answer.callback_at must be ISO 8601, or null"
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ended.tzinfo or UTC)
    if not ended + EARLIEST_CALLBACK <= moment <= ended + LATEST_CALLBACK:
        return "answer.callback_at must be after the call's end, by at most a year, or null"
    return max(moment, ended)


def _json_object_in(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object in an answer, or `None`; text around it, as in fences, is ignored.

    An answer of more than `ANSWER_CHARACTERS` counts as having none.
    """
    begin, end = text.find("{"), text.rfind("}")
    if not 0 <= begin < end or len(text) > ANSWER_CHARACTERS:
        return None
    try:
        found = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


STAGE: Final = "llm"
GATE_S: Final = 10.0  # the longest wait for a rate-limited rung; callers go first (chosen)
GATE_GUEST: Final = "after the call"  # the gates see all of this work as one call with this name
MAX_QUESTIONS: Final = 2  # an invalid answer is sent back once, with the error
TOKEN_CHARACTERS: Final = 4  # in English; help.openai.com, "What are tokens"
NO_PRICES: Final = PriceTable(currency="", rates={})
REFUSED_PROMPT: Final = (
    "\n\nYour answer before this was refused: {wrong}. Answer with the JSON object alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenResult:
    """The outcome of a question.

    Attributes:
        read: The model's answer; `None` if it was unusable.
        provider: The rung that answered.
        why: The reason for no answer: `no_model`, `malformed`, `refused` or `too_late`.
    """

    read: ReadAnswer | None = None
    provider: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPen:
    """The model ladder of the calls, for one question about each call.

    Attributes:
        rungs: The rungs, the preferred one first.
        retries: The retry policy; its health table is that of the calls.
        gates: The gates of rate-limited rungs, by name.
        prices: For the cost of an answer.
    """

    rungs: tuple[RungSpec, ...]
    retries: Retries
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])
    prices: PriceTable = NO_PRICES

    async def ask(
        self,
        question: ResultQuestion,
        text: str,
        ended: datetime,
        *,
        within_s: float,
        call_id: str = "",
    ) -> WrittenResult:
        """Return the model's result for a transcript within a time limit, or why there is none.

        `ended` is the call's end, as for `read_moment`. The cost is counted for `call_id`.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self._ask_until_valid(question, text, ended, call_id)
        except TimeoutError:
            return WrittenResult(why="too_late")
        except ServiceError as error:
            is_payload = error.failure.scope is Scope.PAYLOAD
            return WrittenResult(why="refused" if is_payload else "no_model")

    async def _ask_until_valid(
        self, question: ResultQuestion, text: str, ended: datetime, call_id: str
    ) -> WrittenResult:
        """Return the result of the first valid answer; an invalid one is sent back once.

        Emits `UsageMeasured`, with its cost, for each answer.
        """
        instruction = question.prompt
        for _ in range(MAX_QUESTIONS):
            pen_question = PenQuestion(instruction=instruction, text=text)
            name, answer = await self.write(pen_question)
            used = use_of(name, pen_question, answer)  # before it is read: invalid ones cost, too
            priced = replace(used, cost=cost(used, self.prices), behind_call=call_id)
            self.retries.emit(priced)
            read = read_answer(answer.text, question, ended)
            if isinstance(read, ReadAnswer):
                return WrittenResult(read=read, provider=name)
            instruction = question.prompt + REFUSED_PROMPT.format(wrong=read)
        return WrittenResult(why="malformed")

    async def write(self, question: PenQuestion) -> tuple[str, PenAnswer]:
        """Return the name of the first rung that answers a question, and its answer.

        Raises:
            ServiceError: No rung answers.
        """
        works: dict[str, Callable[[], Awaitable[tuple[str, PenAnswer]]]] = {
            rung.name: partial(self._write_at_gate, rung, question) for rung in self.rungs
        }
        return await run_down_ladder(works, stage=STAGE, retries=self.retries)

    async def _write_at_gate(self, rung: RungSpec, question: PenQuestion) -> tuple[str, PenAnswer]:
        """Return the rung's name and answer, once its rate limit leaves room.

        Raises:
            ServiceError: There was no room within `GATE_S`, or the rung failed.
        """
        gate = self.gates.get(rung.name)
        if gate is None:
            return await _write_with_rung(rung, question)
        until = Turn(budget_s=GATE_S).until(self.retries.clock())  # no caller waits for this
        ticket = await gate.enter(GATE_GUEST, until=until)
        if ticket is None:  # the rung is healthy, but callers use its whole limit
            busy = finding(Kind.RATE_LIMITED, Scope.PAYLOAD)
            raise error_of(failed(busy, STAGE, provider=rung.name, reason="no place is free"))
        try:
            return await _write_with_rung(rung, question)
        finally:
            gate.leave(ticket)


async def _write_with_rung(rung: RungSpec, question: PenQuestion) -> tuple[str, PenAnswer]:
    pen = provider(STAGE, rung.kind).load_batch_pen()
    return rung.name, await pen.write(rung, question)


def use_of(name: str, question: PenQuestion, answer: PenAnswer) -> UsageMeasured:
    """Return the billed tokens of an answer, so far without cost; estimated if not reported."""
    reported = answer.prompt_tokens
    characters = len(question.instruction) + len(question.text)
    return UsageMeasured(
        turn=0,
        stage=STAGE,
        provider=name,
        model=answer.model,
        prompt_tokens=characters // TOKEN_CHARACTERS if reported is None else reported,
        cached_tokens=answer.cached_tokens,
        completion_tokens=(
            len(answer.text) // TOKEN_CHARACTERS if reported is None else answer.completion_tokens
        ),
        estimated=reported is None,
    )
