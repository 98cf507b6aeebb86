"""`/api/do-not-call`: the do-not-call list, and operators' changes to it."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from bot.do_not_call.entries import import_entries, seen, write_entries
from bot.server.api_route import ApiRoute, Refused
from bot.server.contact_routes import BUSY, unpack, upload
from bot.server.operator_routes import Disclosures, OperatorWord, emit_action, operator_name
from calls.entry import Emit
from calls.events import OperatorAction
from campaigns.store.contacts import BATCH, Contacts, DoNotCallEntry
from contacts.numbers import readings_of
from operations.masking import MASKED_ENDING, mask_number, printable
from runtime import clock

PAGE: Final = 50  # entries in a page
MAX_SKIP: Final = 10_000_000
NO_NUMBER: Final = "This is not a telephone number. Write it with + and its country code."

Number = Annotated[str, Body(max_length=60)]
Words = Annotated[str, Body(max_length=300)]
By = Annotated[str, Body(max_length=80)]
ByQuery = Annotated[str, Query(max_length=80)]


class DoNotCallRoutes:
    """Shows and changes the list; records who changed it, and who saw complete numbers."""

    def __init__(self, contacts: Contacts, *, region: str | None, emit: Emit) -> None:
        """Serve the list of `contacts`; `region` applies to numbers without a country code."""
        self._contacts = contacts
        self._region = region
        self._emit = emit
        self._disclosures = Disclosures(emit)
        self._importing = asyncio.Lock()

    async def page(
        self,
        request: Request,
        skip: Annotated[int, Query(ge=0, le=MAX_SKIP)] = 0,
        numbers: bool = False,  # noqa: FBT001, FBT002 - a query parameter
        by: ByQuery = "",
        number: Annotated[str, Query(max_length=60)] = "",
    ) -> JSONResponse:
        """Return a page, newest entry first; numbers and words are masked unless `numbers`.

        With `number`, in any notation or only its last digits, return the entries that match.
        """
        search = self._search_filter(request, number)
        if search is None:
            return _uncached_json({"entries": [], "more": False})
        found = await self._contacts.do_not_call_entries(skip=skip, most=PAGE + 1, **search)
        if numbers:
            self._disclosures.note(request, "unmask", "the do-not-call list", by=by)
        entries = [seen(entry, numbers=numbers) for entry in found[:PAGE]]
        return _uncached_json({"entries": entries, "more": len(found) > PAGE})

    def _search_filter(self, request: Request, number: str) -> Mapping[str, Any] | None:
        """Return the filter for a search; `None` if it finds nothing.

        Raises:
            HTTPException: The sender's role may not search for so many digits (403).
        """
        if not number.strip():
            return {}
        digits = "".join(filter(str.isdecimal, number))
        least = self._disclosures.check_search(request, digits, shown=MASKED_ENDING)
        if not digits:
            return None
        # Only with the role `act` is `least` 0, and a number read in full.
        readings = () if least else readings_of(number, region=self._region)
        return {"numbers": readings, "ending": digits, "least": least}

    async def export(
        self,
        request: Request,
        numbers: bool = False,  # noqa: FBT001, FBT002 - a query parameter
        by: ByQuery = "",
    ) -> Response:
        """Return the whole list as a CSV file; numbers and words are masked unless `numbers`."""
        if numbers:
            self._disclosures.note(request, "unmask", "the file of the do-not-call list", by=by)
        first = await self._contacts.do_not_call_entries(most=BATCH)
        headers = {"Content-Disposition": 'attachment; filename="do_not_call.csv"'}
        headers |= {"Cache-Control": "no-store"}
        lines = self._file_page_by_page(first, numbers=numbers)
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)

    async def _file_page_by_page(
        self, page: Sequence[DoNotCallEntry], *, numbers: bool
    ) -> AsyncIterator[str]:
        """Yield the file page by page, so that calls on this event loop do not wait.

        Changes of the list meanwhile neither lose nor repeat another entry.
        """
        header = True
        while page or header:
            text = io.StringIO()
            write_entries(text, page, numbers=numbers, header=header)
            yield text.getvalue()
            header, entries = False, self._contacts.do_not_call_entries
            page = await entries(after=page[-1], most=BATCH) if page else ()

    async def import_file(
        self, request: Request, by: ByQuery = "", name: Annotated[str, Query(max_length=80)] = ""
    ) -> JSONResponse:
        """Put the numbers of the file in the request's body on the list, as `dnc import` does.

        Raises:
            Refused: Another import runs (503).
        """
        if self._importing.locked():
            raise Refused(BUSY, 503)
        source = f"console: {operator_name(request, OperatorWord(by=by))}"
        if name:
            source += f", {printable(name)}"
        async with self._importing:
            lines = await asyncio.to_thread(self._import_file, await request.body(), source)
        counts = next(line for line in lines if " refused" in line and " added" in line)
        self._emit_action(request, "list", f"a file: {counts}", by)
        return _uncached_json({"lines": lines})

    def _import_file(self, body: bytes, source: str) -> Sequence[str]:
        """Import a file; return lines about it. Blocks.

        The import has an event loop and a connection of its own, because this process's loop must
        serve calls.
        """
        lines = list[str]()
        url = self._contacts.database.url.render_as_string(hide_password=False)
        with upload() as file:
            file.write_bytes(unpack(body, command="dnc"))
            import_entries(url, file, region=self._region, source=source, say=lines.append)
        return lines

    async def add(
        self, request: Request, number: Number, words: Words = "", by: By = ""
    ) -> JSONResponse:
        """Put a number on the list unless it is there; raise `Refused` if it is none or unclear."""
        found = self._parse_number(number)
        source = f"console: {operator_name(request, OperatorWord(by=by))}"
        new = await self._contacts.add_do_not_call(
            found, source=source, now=clock.utc_s(), words=words
        )
        self._emit_action(request, "list", mask_number(found), by)
        return _uncached_json({"number": mask_number(found), "new": new})

    async def remove(self, request: Request, number: Number, by: By = "") -> JSONResponse:
        """Take a number off the list.

        Raises:
            Refused: It is no number, or is not on the list (404).
        """
        found = self._parse_number(number)
        if not await self._contacts.remove_do_not_call(found):
            raise Refused("This number is not on the list.", 404)
        self._emit_action(request, "unlist", mask_number(found), by)
        return _uncached_json({"number": mask_number(found)})

    def _parse_number(self, number: str) -> str:
        """Return a number in international format; raise `Refused` if it is none or ambiguous."""
        readings = readings_of(number, region=self._region)
        if len(readings) == 1:
            return readings[0]
        if not readings:
            raise Refused(NO_NUMBER)
        raise Refused(f"This may be {' or '.join(readings)}. Write the one that you mean.")

    def _emit_action(self, request: Request, action: OperatorAction, target: str, by: str) -> None:
        emit_action(self._emit, request, action, target=target, word=OperatorWord(by=by))


def do_not_call_router(contacts: Contacts, *, region: str | None, emit: Emit) -> APIRouter:
    """Return the routes under `/api/do-not-call`."""
    router = APIRouter(prefix="/api/do-not-call", route_class=ApiRoute)
    routes = DoNotCallRoutes(contacts, region=region, emit=emit)
    router.add_api_route("", routes.page, response_model=None)
    router.add_api_route("", routes.add, methods=["POST"], response_model=None)
    router.add_api_route("/export.csv", routes.export, response_model=None)
    router.add_api_route("/import", routes.import_file, methods=["POST"], response_model=None)
    router.add_api_route("/remove", routes.remove, methods=["POST"], response_model=None)
    return router


def _uncached_json(body: Mapping[str, Any]) -> JSONResponse:
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
