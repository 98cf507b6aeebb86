"""`/api/campaigns` and `/api/dials`: campaign states, reports, operator actions, single calls."""

import asyncio
import csv
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal, cast

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from bot.outbound.campaign_list import list_campaigns, merge_holds, standing_still, why_held
from bot.outbound.outbound import Outbound
from bot.server.api_route import NO_DATABASE, ApiRoute, Refused
from bot.server.operator_routes import (
    By,
    Disclosures,
    OperatorWord,
    Word,
    describe_operator,
    emit_action,
    operator_name,
)
from bot.workers.pool import WorkerPool
from calls.entry import Emit
from calls.events import OperatorAction
from calls.incident import CAMPAIGN, Place
from campaigns.one_call import ONE_CALL
from campaigns.order_gate import Order
from campaigns.order_rules import NOTHING_ALLOWED, OrderRefusal
from campaigns.state import MOVES, report_campaign
from campaigns.summary import summarize
from operations.csv_cells import safe_cell
from operations.database.database import StorageError
from operations.masking import mask_number, without_phones
from runtime import clock
from runtime.exits import UsageError
from transports.dialling import DialWithdrawnError

REFRESH_EVERY_S: Final = 3.0  # chosen: dials take longer, and each query reads a whole ledger
HOLDS_QUESTION: Final = "campaign holds"
VIEW_QUESTION: Final = "campaigns"


class PoolCampaigns:
    """The state of all campaigns; all watchers in all processes share one query."""

    def __init__(self, outbound: Outbound, pool: WorkerPool) -> None:
        """Show the campaigns of `outbound`, and answer the queries of the processes of `pool`."""
        self._outbound = outbound
        self._pool = pool
        self._last: dict[str, Any] = {"campaigns": [], "problem": ""}
        self._refreshed_at = -REFRESH_EVERY_S
        self._refreshing = asyncio.Lock()
        pool.peers.answer(HOLDS_QUESTION, self._own_holds)
        pool.peers.answer(VIEW_QUESTION, self._own_view)

    async def all(self) -> list[dict[str, Any]]:
        """Return the current state of every campaign.

        Raises:
            StorageError: The database does not answer.
        """
        held = merge_holds(await self._pool.peers.ask_all(HOLDS_QUESTION))
        return await list_campaigns(self._outbound, held)

    def lasting(self) -> Sequence[Place]:
        """Return the campaigns that an outage holds at present; empty in all but the leader."""
        if not self._pool.leads:
            return ()
        return [(CAMPAIGN, name) for name in standing_still(self._outbound)]

    async def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the campaigns, and again whenever they change; once if there are none.

        Nothing is yielded while no leader answers.
        """
        shown: Mapping[str, Any] = {"campaigns": [], "problem": ""}
        if not self._outbound.campaigns:
            yield shown
            return
        while True:
            view = await self._leaders_view()
            if view is not None and view != shown:
                shown = view
                yield view
            await asyncio.sleep(REFRESH_EVERY_S)

    async def _leaders_view(self) -> Mapping[str, Any] | None:
        """Return the leader's view; `None` while no leader answers."""
        views = await self._pool.peers.ask_all(VIEW_QUESTION)
        return next((view for view in views if view), None)

    async def _own_view(self, _: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the view for the watchers in all processes; `None` unless this is the leader."""
        if not self._pool.leads:
            return None
        async with self._refreshing:
            if clock.monotonic() >= self._refreshed_at + REFRESH_EVERY_S / 2:
                self._last = await self._refreshed_states()
                self._refreshed_at = clock.monotonic()
        return self._last

    async def _refreshed_states(self) -> dict[str, Any]:
        """Return all campaigns; without the database, those last read, and the problem."""
        try:
            return {"campaigns": await self.all(), "problem": ""}
        except StorageError:  # show the last known state
            return {**self._last, "problem": NO_DATABASE}

    async def _own_holds(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return why_held(self._outbound) if self._pool.leads else {}


PIECE_BYTES: Final = 64 * 1024
CONTENT_TYPES: Final = {"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8"}
PAGE_HEADERS: Final = {
    # The page needs only its inline style sheet: it has no script and no image.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class CampaignReports:
    """Writes campaign reports, one at a time."""

    def __init__(self, outbound: Outbound, disclosures: Disclosures) -> None:
        """Report on the configured campaigns, from their database."""
        self._outbound = outbound
        self._disclosures = disclosures
        self._writing = asyncio.Lock()

    async def html_page(self, name: str) -> Response:
        """Return the report as an HTML page; it contains no phone numbers."""
        return await self._write_and_return(name, "html", headers=PAGE_HEADERS, numbers=True)

    async def csv_file(self, request: Request, name: str, *, numbers: bool = False) -> Response:
        """Return a CSV file with a line for each contact.

        Numbers are masked unless `numbers`, which needs the role `act` and is recorded.
        """
        if numbers and name in self._outbound.campaigns:
            self._disclosures.note(request, "unmask", f"the report of campaign {name}")
        headers = PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return await self._write_and_return(name, "csv", headers=headers, numbers=numbers)

    async def _write_and_return(
        self, name: str, suffix: str, *, headers: Mapping[str, str], numbers: bool
    ) -> Response:
        """Write a report and return it as `suffix`, `html` or `csv`.

        Raises:
            Refused: The campaign is unknown or has no contacts (404), or another report is being
                written (503).
        """
        if name not in self._outbound.campaigns:
            raise Refused("There is no such campaign.", 404)
        if self._writing.locked():
            raise Refused("Another report is being written. Try again in a moment.", 503)
        url, currency = self._outbound.url, self._outbound.currency
        try:
            async with self._writing:
                file = await asyncio.to_thread(
                    _write_report, url, name, suffix, numbers=numbers, currency=currency
                )
        except UsageError as error:
            raise Refused("This campaign has no contacts yet.", 404) from error
        return StreamingResponse(
            _read_in_pieces(file), media_type=CONTENT_TYPES[suffix], headers=headers
        )


def report_router(outbound: Outbound, emit: Emit) -> APIRouter:
    """Return the routes of the reports; numbers are masked unless the request asks for them."""
    router = APIRouter(prefix="/api/campaigns/{name}", route_class=ApiRoute)
    reports = CampaignReports(outbound, Disclosures(emit))
    router.add_api_route("/report.html", reports.html_page, response_model=None)
    router.add_api_route("/report.csv", reports.csv_file, response_model=None)
    return router


def _write_report(url: str, name: str, suffix: str, *, numbers: bool, currency: str) -> BinaryIO:
    """Write a report and open it; the file is deleted once it is closed. Blocks."""
    with tempfile.TemporaryDirectory(prefix="holdline-report-") as place:
        folder = Path(place)
        # In an event loop of this thread, because the server's loop must serve calls.
        report = report_campaign(url, name, folder, say=lambda _: None, currency=currency)
        asyncio.run(report)
        path = folder / f"{name}.{suffix}"
        return (path if numbers else _mask_numbers(path)).open("rb")


def _mask_numbers(path: Path) -> Path:
    """Write a copy of a CSV report with masked numbers; return its path."""
    copy = path.with_suffix(".masked")
    with (
        path.open(encoding="utf-8", newline="") as file,
        copy.open("w", encoding="utf-8", newline="") as to,
    ):
        rows = csv.DictReader(file)
        writer = csv.DictWriter(to, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            number, name = row["number"].lstrip("'"), without_phones(row["name"])
            writer.writerow(row | {"number": safe_cell(mask_number(number)), "name": name})
    return copy


def _read_in_pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


NO_CARRIER: Final = "no carrier that could dial is configured"
LEAVING: Final = "the server is stopping and no longer places calls"
NO_SEAT: Final = "all seats are taken by calls; call again later, or raise server.max_calls"
UNREADABLE: Final = (
    "The number must begin with + and the country code, or be one of the country in server.region."
)
AMBIGUOUS: Final = "The number may be {}; write it with + and the country code."

DialledNumber = Annotated[str, Body(embed=True, max_length=32)]
OrderSource = Annotated[Literal["api", "command"], Body(embed=True)]


def campaign_router(outbound: Outbound, all_campaigns: PoolCampaigns, emit: Emit) -> APIRouter:
    """Return the routes under `/api/campaigns` and `/api/dials`."""
    router = APIRouter(route_class=ApiRoute)

    @router.get("/api/campaigns", response_model=None)
    async def campaigns() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        return await all_campaigns.all()

    @router.post("/api/campaigns/{name}/{move}", response_model=None)
    async def change(  # pyright: ignore[reportUnusedFunction]
        request: Request, name: str, move: str, word: Word = None
    ) -> JSONResponse | dict[str, Any]:
        if refused := _refuse_transition(outbound, name, move):
            return refused
        operator = word or OperatorWord()
        if why := await _why_no_calls(outbound, name, move):
            raise Refused(f"{why}.", 409)
        changed = await _change_state(outbound, name, move, operator_name(request, operator))
        if changed:
            emit_action(emit, request, cast(OperatorAction, move), target=name, word=operator)
        shown = {item["name"]: item for item in await all_campaigns.all()}[name]
        return shown if changed else _not_changed(shown, move)

    _add_dial_route(router, outbound)
    return router


def _add_dial_route(router: APIRouter, outbound: Outbound) -> None:
    @router.post("/api/dials", response_model=None)
    async def dial(  # pyright: ignore[reportUnusedFunction]
        request: Request, number: DialledNumber, by: By = "", source: OrderSource = "api"
    ) -> dict[str, Any]:
        return await _dial_and_wait(
            outbound,
            Order(
                id=ONE_CALL + secrets.token_hex(8),
                source=source,
                by=describe_operator(request, OperatorWord(by=by)),
                number=number,
            ),
        )


def _refuse_transition(outbound: Outbound, name: str, move: str) -> JSONResponse | None:
    """Return a 404 for an unknown campaign or action, else `None`.

    Raises:
        Refused: The action starts calls, and no rule allows any (409).
    """
    if name not in outbound.campaigns or move not in MOVES:
        body = {"detail": "There is no such campaign.", "names": list(outbound.campaigns)}
        return JSONResponse(body, status_code=404)
    if MOVES[move][1] == "running" and not outbound.gate.rules.opened:
        raise Refused(NOTHING_ALLOWED, 409)
    return None


async def _change_state(outbound: Outbound, name: str, move: str, by: str) -> bool:
    """Change a campaign's state, by the operator `by`; return False if its state forbids that.

    A campaign that is not in the database yet is created first.
    """
    now, (begins, becomes) = outbound.now_s(), MOVES[move]
    await outbound.queue.open(name, now=now)
    return await outbound.queue.move(name, becomes, reason=by, now=now, begins=begins)


async def _why_no_calls(outbound: Outbound, name: str, move: str) -> str:
    """Return why a start would call no contact; empty if it would call some, or for other moves."""
    if move != "start":
        return ""
    campaign, database = outbound.campaigns[name], outbound.figures.database
    return (
        await summarize(campaign, database, currency=outbound.currency, now=outbound.now_s())
    ).why_none


def _not_changed(shown: dict[str, Any], move: str) -> dict[str, Any]:
    """Return the campaign if it already has the requested state, else refuse the request."""
    begins, becomes = MOVES[move]
    if shown["state"] == becomes:
        return shown
    needs = " or ".join(sorted(begins))
    raise Refused(f"{shown['name']} is {shown['state']}; {move} needs {needs}.", 409)


async def _dial_and_wait(outbound: Outbound, order: Order) -> dict[str, Any]:
    """Place the call of an order, and return its result once the dial is over.

    Raises:
        Refused: The number is unclear or may not be called, or no call can be placed now.
    """
    call = outbound.one_call
    readings = outbound.gate.readings(order.number)  # complete numbers that it may mean
    if len(readings) != 1:
        raise Refused(AMBIGUOUS.format(" or ".join(readings)) if readings else UNREADABLE)
    order = replace(order, number=readings[0])
    if call is None:
        raise Refused(NO_CARRIER, 409)
    if call.pool.leaving or call.pool.seats() <= 0:
        raise Refused(LEAVING if call.pool.leaving else NO_SEAT, 503)
    if await outbound.contacts.do_not_call([order.number]):
        raise Refused("This number is on the do-not-call list.", 409)
    try:
        result = await call.make(order)
    except DialWithdrawnError as error:
        raise Refused(LEAVING, 503) from error
    if isinstance(result, OrderRefusal):
        raise Refused(result.text, 429 if result.limit else 409)
    return asdict(result)
