"""`/api/do-not-call`: the do-not-call list, and operators' changes to it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import JSONResponse

from bot import clock
from bot.server.operator_routes import Disclosures, OperatorWord, emit_action, operator_name
from calls.entry import Emit
from calls.events import OperatorAction
from campaigns.do_not_call import seen
from campaigns.store.contacts import Contacts
from operations.database.database import StorageError
from operations.masking import masked
from operations.numbers import readings_of

PAGE: Final = 50  # entries in a page
MAX_SKIP: Final = 10_000_000
NO_DATABASE: Final = "The database does not answer."
NO_NUMBER: Final = "This is not a telephone number. Write it with + and its country code."

Number = Annotated[str, Body(max_length=60)]
Words = Annotated[str, Body(max_length=300)]
By = Annotated[str, Body(max_length=80)]


class DoNotCallRoutes:
    """Shows and changes the list; records who changed it, and who saw complete numbers."""

    def __init__(self, contacts: Contacts, *, region: str | None, emit: Emit) -> None:
        """Serve the list of `contacts`; `region` applies to numbers without a country code."""
        self._contacts = contacts
        self._region = region
        self._emit = emit
        self._disclosures = Disclosures(emit)

    async def page(
        self,
        request: Request,
        skip: Annotated[int, Query(ge=0, le=MAX_SKIP)] = 0,
        numbers: bool = False,  # noqa: FBT001, FBT002 - a query parameter
        by: Annotated[str, Query(max_length=80)] = "",
    ) -> JSONResponse:
        """Return a page, newest entry first; numbers and words are masked unless `numbers`."""
        try:
            found = await self._contacts.do_not_call_entries(skip=skip, most=PAGE + 1)
        except StorageError:
            return _refusal(NO_DATABASE, 503)
        if numbers:
            self._disclosures.note(request, "unmask", "the do-not-call list", by=by)
        entries = [seen(entry, numbers=numbers) for entry in found[:PAGE]]
        return _answer({"entries": entries, "more": len(found) > PAGE})

    async def add(
        self, request: Request, number: Number, words: Words = "", by: By = ""
    ) -> JSONResponse:
        """Put a number on the list."""
        found = self._parse(number)
        if isinstance(found, JSONResponse):
            return found
        source = f"console: {operator_name(request, OperatorWord(by=by))}"
        try:
            new = await self._contacts.add_do_not_call(
                found, source=source, now=clock.utc_s(), words=words
            )
        except StorageError:
            return _refusal(NO_DATABASE, 503)
        self._note(request, "list", masked(found), by)
        return _answer({"number": masked(found), "new": new})

    async def remove(self, request: Request, number: Number, by: By = "") -> JSONResponse:
        """Take a number off the list."""
        found = self._parse(number)
        if isinstance(found, JSONResponse):
            return found
        try:
            removed = await self._contacts.remove_do_not_call(found)
        except StorageError:
            return _refusal(NO_DATABASE, 503)
        if not removed:
            return _refusal("This number is not on the list.", 404)
        self._note(request, "unlist", masked(found), by)
        return _answer({"number": masked(found)})

    def _parse(self, number: str) -> str | JSONResponse:
        """Return a number in international format, or a refusal if it is none or ambiguous."""
        readings = readings_of(number, region=self._region)
        if len(readings) == 1:
            return readings[0]
        if not readings:
            return _refusal(NO_NUMBER)
        return _refusal(f"This may be {' or '.join(readings)}. Write the one that you mean.")

    def _note(self, request: Request, action: OperatorAction, target: str, by: str) -> None:
        emit_action(self._emit, request, action, target=target, word=OperatorWord(by=by))


def do_not_call_router(contacts: Contacts, *, region: str | None, emit: Emit) -> APIRouter:
    """Return the routes under `/api/do-not-call`."""
    router = APIRouter(prefix="/api/do-not-call")
    routes = DoNotCallRoutes(contacts, region=region, emit=emit)
    router.add_api_route("", routes.page, response_model=None)
    router.add_api_route("", routes.add, methods=["POST"], response_model=None)
    router.add_api_route("/remove", routes.remove, methods=["POST"], response_model=None)
    return router


def _answer(body: Mapping[str, Any]) -> JSONResponse:
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


def _refusal(why: str, status: int = 400) -> JSONResponse:
    return JSONResponse({"detail": why}, status_code=status)
