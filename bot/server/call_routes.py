"""`/api/calls`: the calls in progress, recorded calls, and one call with its timeline."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from bot.server.access import path_of
from bot.server.api_route import ApiRoute, Refused
from bot.server.operator_routes import Disclosures, readable_words
from bot.workers.machine_views import MachineViews
from bot.workers.pool import WorkerPool
from calls.sentences import (
    ENDS,
    OUTCOMES,
    WHYS,
    Vendors,
    cure_of,
    event_sentence,
    explain,
    phrase,
    vendor_at,
)
from operations.database.database import StorageError
from operations.masking import mask_number
from operations.moments import iso
from operations.record.reader import (
    CallPage,
    CallResultRow,
    CallRow,
    FailureRow,
    HappeningRow,
    RecordReader,
    TurnRow,
)
from operations.telemetry.live import ConsoleSums, merge_turns
from runtime import clock
from runtime.machines import is_machine, machine_path, machine_path_of

REFRESH_EVERY_S: Final = 0.5  # between two queries for an open page


class PoolCalls:
    """The calls in progress of all machines; the watchers of this process share one query.

    Attributes:
        vendors: The vendors' names and keys, for sentences about failures.
        machines: The views of all machines.
    """

    def __init__(self, sums: ConsoleSums, pool: WorkerPool, machines: MachineViews) -> None:
        """Show the calls of `pool` and of other machines; answer other processes from `sums`."""
        self.vendors = sums.vendors
        self._sums = sums
        self._pool = pool
        self.machines = machines
        self._last: Sequence[Mapping[str, Any]] = ()
        self._refreshed_at = -REFRESH_EVERY_S
        self._refreshing = asyncio.Lock()
        pool.peers.answer("calls", self._own_calls)
        pool.peers.answer("turns", self._own_turns)

    async def live(self) -> list[Mapping[str, Any]]:
        """Return the calls in progress, the oldest first."""
        answers = await self._pool.peers.ask_all("calls")
        own = self.machines.own([call for calls in answers for call in calls])
        # A call that has moved may still be in the older view of the machine that had it.
        views = (*await self.machines.others(), own)
        by_id = {call["id"]: call for view in views for call in view["calls"]}
        return sorted(by_id.values(), key=_started_at)

    @property
    def store_problem(self) -> str:
        """Why only the calls of this machine are shown, as a sentence; empty if all are."""
        return self.machines.problem

    async def turns(self) -> list[list[Any]]:
        """Return the latest answers, each as time, the caller's wait in seconds, and call id."""
        return merge_turns(await self._pool.peers.ask_all("turns"))

    async def watch(self) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Yield the calls in progress, and again whenever they have changed."""
        shown: Sequence[Mapping[str, Any]] | None = None
        while True:
            now = await self._refreshed_calls()
            if now != shown:
                shown = now
                yield now
            await asyncio.sleep(REFRESH_EVERY_S)

    async def _refreshed_calls(self) -> Sequence[Mapping[str, Any]]:
        """Return the calls in progress, from one query for all watchers that ask together."""
        async with self._refreshing:
            if clock.monotonic() >= self._refreshed_at + REFRESH_EVERY_S / 2:
                self._last = await self.live()
                self._refreshed_at = clock.monotonic()
        return self._last

    async def _own_calls(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._sums.live()

    async def _own_turns(self, _: Mapping[str, Any]) -> list[tuple[float, float, str]]:
        return self._sums.recent.turns(clock.utc_now().timestamp())


def _started_at(call: Mapping[str, Any]) -> str:
    return call["started_at"]


MAX_LISTED: Final = 200  # calls in one response
DEFAULT_LIMIT: Final = 25
RECENT_PERIOD: Final = timedelta(minutes=15)  # the period of the console's figures
NO_DATABASE: Final = "The database does not answer. Calls go on; their records are written later."
SHOWN_EVENTS: Final = frozenset(
    {
        *("RungChosen", "StageExhausted", "StageRecovered", "StepTaken", "HeldTheLine", "BargedIn"),
        *("BudgetMissed", "ToolCalled", "PersonWanted", "HandedOver", "CallerReturned"),
        *("LineRestored", "CallerSilent", "CallFailed", "CallerStarted", "CallerStopped"),
        *("AnswerHeard", "EarMeasured", "AttemptFailed", "TurnJudged"),
    }
)
"""The events that a call's page shows, without the fields in `HIDDEN_FIELDS`.

So they contain none of the caller's words or numbers.
"""
HIDDEN_FIELDS: Final = frozenset({"reason"})  # it may quote why the caller wanted a person

Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]
Part = Annotated[int, Query(ge=-1, le=MAX_LISTED)]
"""The number of a recording's file, from 0; -1 is the last one."""


class CallRoute(ApiRoute):
    """A route of calls."""

    no_database = NO_DATABASE


def call_router(
    calls: PoolCalls, reader: RecordReader, disclosures: Disclosures, *, currency: str
) -> APIRouter:
    """Return the routes under `/api/calls`; numbers are masked unless a request asks for them.

    `disclosures` records who saw complete numbers and who played a recording.
    """
    router = APIRouter(prefix="/api/calls", route_class=CallRoute)

    @router.get("")
    async def list_calls(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        limit: Limit = DEFAULT_LIMIT,
        before: datetime | None = None,
        *,
        numbers: bool = False,
    ) -> dict[str, Any]:
        now = clock.utc_now()
        if numbers:
            disclosures.note(request, "unmask", "the list of calls")
        recorded = await _recorded_as_json(reader, now, limit, before, currency, numbers=numbers)
        live, turns = await calls.live(), await calls.turns()
        problem = {"store_problem": calls.store_problem}
        return {"live": live, "turns": turns, **problem, **recorded}

    @router.get("/{call_id}", response_model=None)
    async def one_call(  # pyright: ignore[reportUnusedFunction]
        request: Request, call_id: str, *, numbers: bool = False
    ) -> dict[str, Any]:
        page = await reader.call(call_id)
        if page is not None:
            if numbers:
                disclosures.note(request, "unmask", f"call {call_id}")
            read = readable_words(request)
            return _page_as_json(page, calls.vendors, numbers=numbers, read=read)
        return _live_page(call_id, await calls.live())

    _add_audio(router, reader, disclosures, calls.machines.machine)
    return router


def _add_audio(
    router: APIRouter, reader: RecordReader, disclosures: Disclosures, machine: str
) -> None:
    """Add the route of a call's recording; `machine` is the name of this one, or empty."""

    @router.get("/{call_id}/audio", response_model=None)
    async def audio(  # pyright: ignore[reportUnusedFunction]
        request: Request, call_id: str, part: Part = -1
    ) -> Response:
        page = await reader.call(call_id)
        parts = dict(enumerate(page.recordings)) if page else {}
        path, has_it = parts.get(part if part >= 0 else len(parts) - 1, ("", ""))
        return await recording_response(
            request,
            path,
            machines=(has_it, machine),
            note=lambda: disclosures.note(request, "hear", f"the recording of call {call_id}"),
        )


async def recording_response(
    request: Request, recording: str, *, machines: tuple[str, str], note: Callable[[], None]
) -> Response:
    """Return a recording, which caches must not store, or a redirection to the machine that has it.

    Args:
        request: The request, which may name a machine in its path.
        recording: The path of the file; empty if the call was not recorded.
        machines: The names of the machine that has the file, and of this one; may be empty.
        note: Records the access; called before the recording is sent.

    Raises:
        Refused: There is no recording (404), or its machine does not answer (503).
    """
    if recording and await asyncio.to_thread(Path(recording).is_file):
        note()
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return FileResponse(recording, media_type="audio/wav", headers=headers)
    has_it, own = machines
    if not (recording and own and is_machine(has_it)) or has_it == own:
        raise Refused("This call was not recorded.", 404)
    if machine_path_of(request.scope) == machine_path(has_it):  # it came here instead
        raise Refused(f"Machine {has_it} has this recording, and does not answer now.", 503)
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{machine_path(has_it)}{quote(path_of(request))}{query}")


async def _recorded_as_json(
    reader: RecordReader,
    now: datetime,
    limit: int,
    before: datetime | None,
    currency: str,
    *,
    numbers: bool,
) -> dict[str, Any]:
    """Return recorded calls and figures; without the database, none of them and a `problem`."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    until = None if before is None else to_utc(before)
    try:
        rows = await reader.calls(limit=limit, before=until, live=False)
        cost = await reader.cost_since(midnight)
        lately = await reader.figures_since(now - RECENT_PERIOD)
    except StorageError:
        return {"recent": [], "lately": None, "today": None, "problem": NO_DATABASE}
    return {
        "recent": [_call_as_json(row, numbers=numbers) for row in rows],
        "lately": lately,
        "today": {"since": iso(midnight), "cost": round(cost, 4), "currency": currency},
        "problem": "",
    }


def to_utc(at: datetime) -> datetime:
    """Return a time in UTC, as the record stores it, because SQLite ignores time zones.

    A time without a zone counts as UTC.
    """
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:  # on the first or last representable day
        return at.replace(tzinfo=UTC)


def _call_as_json(row: CallRow, *, numbers: bool) -> dict[str, Any]:
    """Return a call without the path of its recording; numbers are masked unless `numbers`."""
    shown = (
        asdict(row)
        | {"recorded": bool(row.recording), "machine": row.machine}
        | _end_and_verdict_phrases(row)
    )
    del shown["recording"]
    if not numbers:
        shown |= {"caller": mask_number(row.caller), "called": mask_number(row.called)}
    return with_iso_times(shown)


def _end_and_verdict_phrases(row: CallRow | TurnRow) -> dict[str, str]:
    """Return in words how a call ended, and the reason of the verdict on a call or turn.

    `ended_says` is empty for a turn.
    """
    ended = phrase(ENDS, row.reason or row.state) if isinstance(row, CallRow) else ""
    return {"ended_says": ended, "why_says": phrase(WHYS, row.why)}


def _page_as_json(
    page: CallPage, vendors: Vendors, *, numbers: bool, read: Callable[[str], str]
) -> dict[str, Any]:
    """Return the page of a recorded call; `read` shows its words."""
    messages = [asdict(message) | {"text": read(message.text)} for message in page.messages]
    return {
        "call": _call_as_json(page.call, numbers=numbers),
        "turns": [
            with_iso_times(asdict(turn) | _end_and_verdict_phrases(turn)) for turn in page.turns
        ],
        "messages": [with_iso_times(message) for message in messages],
        "failures": [_failure_as_json(failure, vendors) for failure in page.failures],
        "breaker_moves": [
            with_iso_times(asdict(breaker_move)) for breaker_move in page.breaker_moves
        ],
        "happenings": [
            _happening_as_json(item, vendors)
            for item in page.happenings
            if item.kind in SHOWN_EVENTS
        ],
        "result": _result_as_json(page.result, read) if page.result else None,
        "recordings": len(page.recordings),
    }


def _result_as_json(row: CallResultRow, read: Callable[[str], str]) -> dict[str, Any]:
    """Return a call's result, with its outcome in words and the callback's time in ISO format."""
    shown: dict[str, Any] = asdict(row)
    shown |= {"summary": read(row.summary), "notes": read(row.notes)}
    at_s = shown.pop("callback_at_s")
    return shown | {"callback_at": iso(at_s) or None, "says": phrase(OUTCOMES, row.outcome)}


def _failure_as_json(row: FailureRow, vendors: Vendors) -> dict[str, Any]:
    vendor = vendor_at(vendors, row.stage, row.provider)
    says = explain(row.kind, row.reason, vendor)
    return with_iso_times(asdict(row) | {"says": says, "cure": cure_of(row.kind, says)})


def _happening_as_json(row: HappeningRow, vendors: Vendors) -> dict[str, Any]:
    """Return an event in the format of the live feed."""
    data = {key: value for key, value in row.data.items() if key not in HIDDEN_FIELDS}
    place = {"number": row.number, "at": row.at, "event": row.kind}
    entry = with_iso_times({"call_id": row.call_id, **data, **place})
    says = event_sentence(row.kind, entry, vendors)
    return entry | {"says": says} if says else entry


def _live_page(call_id: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the page of a call in progress that is not in the record yet; 404 if there is none."""
    live = next((call for call in calls if call["id"] == call_id), None)
    if live is None:
        raise Refused("There is no such call.", 404)
    nothing: Sequence[Any] = ()
    names = ("turns", "messages", "failures", "breaker_moves", "happenings")
    words = {"ended_says": phrase(ENDS, "live"), "why_says": ""}
    call = {**live, "state": "live", "turns": live["turn"], "recorded": False, **words}
    return {"call": call, **dict.fromkeys(names, nothing), "result": None, "recordings": 0}


def with_iso_times(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, their times in ISO format for JSON."""
    return {
        key: iso(value) if isinstance(value, datetime) else value for key, value in values.items()
    }
