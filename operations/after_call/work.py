"""The work after each call: stores a basic result, asks a model, reports to the CRM.

First a result without a model is committed, with a delayed report to the CRM that leaves time for
the model. If the process is killed meanwhile, nothing is lost: the CRM then gets that result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Final, TypeAlias

from loguru import logger
from sqlalchemy import select

from calls.caller import clean
from calls.entry import Emit, Entry
from calls.events import CallEnded
from calls.known_calls import KnownCalls
from calls.operations_events import CallSummarised
from calls.state import CallState
from contacts.numbers import one_reading, zone_of
from operations.after_call.asking import ResultPen, WrittenResult, local_time, question_of
from operations.after_call.outcome_rules import (
    SUMMARY_CHARACTERS,
    CallResult,
    codes_of,
    other_party_spoke,
    outcome_without_model,
)
from operations.backlog import Backlog
from operations.crm.customer import CrmReport
from operations.crm.report_rules import report_of
from operations.crm.reporting import CrmReporter
from operations.database.database import Database, StorageError
from operations.database.recorded_words import add_recorded_words
from operations.database.tables import CALL_RESULTS, CODE_LENGTH, NUMBER_LENGTH
from operations.keep_running import UNWELL_S
from operations.moments import iso


def with_written(known: CallResult, written: WrittenResult, call: CallState) -> CallResult:
    """Return the known result, replaced by the model's if there is one."""
    if written.read is None:
        return replace(known, why=written.why)
    read = written.read
    return replace(
        known,
        summary=read.summary,
        # A number on the do-not-call list stays there, whatever a model says.
        outcome="do_not_call" if call.no_more_calls else read.outcome,
        callback_at_s=read.callback_at_s,
        notes=read.notes,
        made_by="model",
        provider=written.provider,
        why="",
    )


def reported(report: CrmReport, result: CallResult) -> CrmReport:
    """Return a call's CRM report with the call's result."""
    return replace(
        report,
        summary=result.summary,
        result=result.outcome,
        campaign=result.campaign,
        callback_at=iso(result.callback_at_s, "seconds"),
        notes=result.notes,
        made_by=result.made_by,
    )


@dataclass(slots=True)
class CallResults:
    """The stored results; methods raise `StorageError` when the database fails."""

    database: Database

    async def put(self, result: CallResult) -> bool:
        """Store a result, in place of one without a model; return False if a model's is stored."""
        row = asdict(result)
        for name in ("outcome", "campaign", "why", "provider"):
            row[name] = row[name][:CODE_LENGTH]
        row["number"] = row["number"][:NUMBER_LENGTH]
        added = self.database.insert(CALL_RESULTS).values(**row)
        upsert = added.on_conflict_do_update(
            index_elements=["call_id"],
            set_={name: added.excluded[name] for name in row if name != "call_id"},
            where=CALL_RESULTS.c.made_by == "facts",
        )
        async with self.database.transaction() as connection:
            return (await connection.execute(upsert)).rowcount > 0

    async def find(self, call_id: str) -> CallResult | None:
        """Return the result of a call; `None` if there is none."""
        query = select(CALL_RESULTS).where(CALL_RESULTS.c.call_id == call_id)
        async with self.database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
            return CallResult(**row) if row else None


MAX_WAITING: Final = 1000  # ended calls; with more, the oldest are dropped and logged
NUMBER_CHARACTERS: Final = 64  # may be a SIP address
LAST_S: Final = 3.0  # for storing the last results, at the end
REPORT_MARGIN_S: Final = 1.0  # a report waits this much longer than a model's result may take


TakeCallback: TypeAlias = Callable[[CallResult, str], Awaitable[None]]
"""Receives the result of a call with a requested callback, and its time in the caller's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPurpose:
    """The purpose of a call, from its campaign if it has one."""

    campaign: str = ""
    goals: Sequence[str] = ()
    results: Sequence[str] = ()
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCall:
    """An ended call, and its known result."""

    report: CrmReport
    call: CallState
    result: CallResult
    purpose: CallPurpose


class AfterCalls:
    """Follows each call as a listener, and works on it after its end."""

    def __init__(
        self,
        *,
        results: CallResults,
        pen: ResultPen | None,  # `None` if no model is asked
        reporter: CrmReporter | None,
        take_callback: TakeCallback | None,  # `None` if the staff calls back
        purpose: Callable[[str], Awaitable[CallPurpose]],  # by the dial's id; empty for inbound
        emit: Emit,
        utc_s: Callable[[], float],
        within_s: float = 60.0,  # after a call's end; then the result without a model is final
        at_once: int = 2,  # calls
        region: str = "",  # of numbers without a country code
    ) -> None:
        """Start without calls."""
        self._results = results
        self._pen = pen
        self._reporter = reporter
        self._take_callback = take_callback
        self._purpose_of = purpose
        self._emit = emit
        self._utc_s = utc_s
        self._within_s = within_s
        self._at_once = at_once
        self._region = region
        self._calls = KnownCalls(keep_words=True)
        self._ended = Backlog[tuple[CallState, float]](MAX_WAITING)
        self._queued = asyncio.Event()
        self._to_ask: asyncio.Queue[EndedCall] = asyncio.Queue(MAX_WAITING)
        self.lost = 0

    async def hear(self, entry: Entry) -> None:
        """Queue a call that ended; never waits."""
        call = self._calls.add(entry)
        if call and call.started and isinstance(entry.event, CallEnded):
            self._queue_ended(call)

    async def run(self) -> None:
        """Store, ask and report until cancelled; ask about at most `at_once` calls at a time."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._store_all(), name="keep the results of calls")
            for _ in range(self._at_once):
                tasks.create_task(self._ask_all(), name="ask for the results of calls")

    async def close(self) -> None:
        """Store the results without a model of the calls that have just ended; log what is lost.

        Calls that still wait for a model keep these results. `run` must have ended.
        """
        try:
            async with asyncio.timeout(LAST_S):
                while self._ended and await self._store_next():
                    pass
        except TimeoutError:
            pass
        if self._ended:
            logger.error("the results of {} calls were not stored", len(self._ended))

    def _queue_ended(self, call: CallState) -> None:
        """Queue an ended call; a full queue loses its oldest one, which is counted and logged."""
        if self._ended.put((call, self._utc_s())):
            self.lost += 1
            logger.error("the database was down for too long: a call's result is lost")
        self._queued.set()

    async def _store_all(self) -> None:
        """Store the results of ended calls until cancelled; retry in `UNWELL_S` after a failure."""
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._ended:
                if not await self._store_next():
                    await asyncio.sleep(UNWELL_S)

    async def _store_next(self) -> bool:
        """Commit the next call's result, so far without a model; False if the database is down.

        Then its report is queued, and the call waits for a model. If no model is asked, or too many
        calls wait, this result is final. At least one call must be queued.
        """
        first = call, ended_s = self._ended[0]
        try:
            ended = await self._with_basic_result(call, ended_s)
            await self._results.put(ended.result)
        except StorageError as error:
            logger.error("a call's result is not stored yet: {}", error)
            return False
        self._ended.remove_first(first)
        is_model_asked = self._pen is not None and other_party_spoke(call)
        if self._reporter:
            due_s = ended_s + self._within_s + REPORT_MARGIN_S if is_model_asked else None
            self._reporter.add(reported(ended.report, ended.result), due_s=due_s)
        if not is_model_asked:
            await self._publish_result(ended, ended.result)
        elif self._to_ask.full():
            await self._publish_result(ended, replace(ended.result, why="too_many"))
        else:
            self._to_ask.put_nowait(ended)
        return True

    async def _with_basic_result(self, call: CallState, ended_s: float) -> EndedCall:
        """Return an ended call with its report, purpose and the result without a model.

        Raises:
            StorageError: The words of a resumed call cannot be read.
        """
        await add_recorded_words(self._results.database, call)
        report = report_of(call, ended_s=ended_s, written=partial(one_reading, region=self._region))
        purpose = await self._purpose_or_default(call.dial_id)
        result = CallResult(
            call_id=report.call_id,
            number=clean(report.number, NUMBER_CHARACTERS),
            campaign=purpose.campaign,
            outcome=outcome_without_model(call),
            summary=clean(report.summary, SUMMARY_CHARACTERS),
            why="no_words" if not other_party_spoke(call) else "no_model",
            ended_s=ended_s,
        )
        return EndedCall(report=report, call=call, result=result, purpose=purpose)

    async def _purpose_or_default(self, dial_id: str) -> CallPurpose:
        """Return the purpose of a call; the default if its dial cannot be read."""
        try:
            return await self._purpose_of(dial_id)
        except StorageError as error:  # a database that is down does not accept the result either
            logger.warning("a call's purpose is unknown: {}", error)
            return CallPurpose()

    async def _ask_all(self) -> None:
        """Ask for one result after the other, store it and report it, until cancelled.

        A result that cannot be stored is reported anyway, and delays the next question.
        """
        while True:
            ended = await self._to_ask.get()
            result = await self._ask_model_for_result(ended)
            stored = await _try_to_store(self._results, result)
            if self._reporter:
                self._reporter.complete(reported(ended.report, result))
            await self._publish_result(ended, result)
            while not stored:  # no other call's result could be stored meanwhile
                await asyncio.sleep(UNWELL_S)
                stored = await _try_to_store(self._results, result)

    async def _ask_model_for_result(self, ended: EndedCall) -> CallResult:
        """Return the model's result of a call, or its basic one with the reason in `why`."""
        known, purpose = ended.result, ended.purpose
        left_s = known.ended_s + self._within_s - self._utc_s()
        written = WrittenResult(why="too_late")
        excerpt = ended.call.excerpt
        if self._pen is not None and left_s > 0 and excerpt:
            zone = zone_of(known.number, region=self._region) or purpose.zone
            at = local_time(known.ended_s, zone)
            question = question_of(codes_of(purpose.results), purpose.goals, at)
            written = await self._pen.ask(
                question, excerpt.text, at, within_s=left_s, call_id=known.call_id
            )
        return with_written(known, written, ended.call)

    async def _publish_result(self, ended: EndedCall, result: CallResult) -> None:
        """Emit the final result; pass a requested callback on, unless the staff calls back."""
        self._emit(
            CallSummarised(
                call_id=result.call_id,
                made_by=result.made_by,
                outcome=result.outcome,
                provider=result.provider,
                why=result.why,
                took_s=round(max(0.0, self._utc_s() - result.ended_s), 3),
            )
        )
        if self._take_callback and ended.call.callback is not None:
            await self._take_callback(result, ended.call.callback.when)


async def _try_to_store(results: CallResults, result: CallResult) -> bool:
    try:
        await results.put(result)
    except StorageError as error:
        logger.error("a model's result of a call is not stored yet: {}", error)
        return False
    return True
