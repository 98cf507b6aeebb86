"""`/api/inbox`: the callbacks that callers were promised, and the messages that they left."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from bot.server.api_route import Refused
from bot.server.call_routes import CallRoute, recording_response, to_utc, with_iso_times
from bot.server.operator_routes import (
    Disclosures,
    OperatorWord,
    Word,
    emit_action,
    readable_words,
)
from calls.entry import Emit
from calls.events import OperatorAction
from operations.inbox.store import MAX_ENTRIES, Inbox, InboxEntry, InboxKind
from operations.masking import mask_number
from operations.record.reader import machine_of
from runtime import clock

NO_ENTRY = "There is no such entry. It may have been deleted after the retention time."
Limit = Annotated[int, Query(ge=1, le=MAX_ENTRIES)]


def inbox_router(
    inbox: Inbox, emit: Emit, disclosures: Disclosures, *, machine: str = ""
) -> APIRouter:
    """Return the routes under `/api/inbox`; numbers are masked, and each disclosure is recorded.

    `machine` is the name of this one, which may be empty.
    """
    router = APIRouter(prefix="/api/inbox", route_class=CallRoute)
    routes = InboxRoutes(inbox, emit, disclosures, machine)
    router.add_api_route("", routes.list_entries, methods=["GET"], response_model=None)
    entry = "/{kind}/{call_id}"
    for name, act in (("done", routes.done), ("reopen", routes.reopen), ("number", routes.number)):
        router.add_api_route(f"{entry}/{name}", act, methods=["POST"], response_model=None)
    router.add_api_route(f"{entry}/audio", routes.audio, methods=["GET"], response_model=None)
    return router


class InboxRoutes:
    """Lists the entries and changes their state; emits an event for each action."""

    def __init__(self, inbox: Inbox, emit: Emit, disclosures: Disclosures, machine: str) -> None:
        self._inbox = inbox
        self._emit = emit
        self._disclosures = disclosures
        self._machine = machine

    async def list_entries(
        self,
        request: Request,
        limit: Limit = 50,
        before: datetime | None = None,
        *,
        done: bool = False,
    ) -> Mapping[str, Any]:
        """Return the waiting entries, or with `done` the done ones, the newest first."""
        until = None if before is None else to_utc(before)
        entries = await self._inbox.entries(done=done, limit=limit, before=until)
        waiting, read = await self._inbox.waiting(), readable_words(request)
        return {"waiting": waiting, "entries": [_entry_json(entry, read) for entry in entries]}

    async def done(
        self, request: Request, kind: InboxKind, call_id: str, word: Word = None
    ) -> Mapping[str, Any]:
        """Mark an entry as done."""
        return await self._mark_entry(request, kind, call_id, word, action="done")

    async def reopen(
        self, request: Request, kind: InboxKind, call_id: str, word: Word = None
    ) -> Mapping[str, Any]:
        """Mark an entry as waiting again."""
        return await self._mark_entry(request, kind, call_id, word, action="reopen")

    async def number(self, request: Request, kind: InboxKind, call_id: str) -> Mapping[str, Any]:
        """Return the complete number; the disclosure is recorded first."""
        entry = await self._entry_or_refuse(kind, call_id)
        self._disclosures.note(request, "unmask", f"the number of call {call_id}")
        return {"number": entry.number}

    async def audio(self, request: Request, kind: InboxKind, call_id: str) -> Response:
        """Return a message's recording; the disclosure is recorded first."""
        entry = await self._entry_or_refuse(kind, call_id)
        return await recording_response(
            request,
            entry.path,
            machines=(machine_of(entry.holder), self._machine),
            note=lambda: self._disclosures.note(request, "hear", f"the message of {call_id}"),
        )

    async def _mark_entry(
        self,
        request: Request,
        kind: InboxKind,
        call_id: str,
        word: OperatorWord | None,
        *,
        action: OperatorAction,
    ) -> Mapping[str, Any]:
        """Mark an entry, and return it; emit an event unless it had the state already."""
        done_at = clock.utc_now() if action == "done" else None
        if await self._inbox.mark(kind, call_id, done_at=done_at):
            word = word or OperatorWord()
            emit_action(self._emit, request, action, target=call_id, word=word)
        return _entry_json(await self._entry_or_refuse(kind, call_id), readable_words(request))

    async def _entry_or_refuse(self, kind: InboxKind, call_id: str) -> InboxEntry:
        if (entry := await self._inbox.entry(kind, call_id)) is None:
            raise Refused(NO_ENTRY, 404)
        return entry


def _entry_json(entry: InboxEntry, read: Callable[[str], str]) -> Mapping[str, Any]:
    """Return an entry with a masked number and without the path of its recording.

    `read` shows what the caller said.
    """
    return with_iso_times(
        {
            "kind": entry.kind,
            "call_id": entry.call_id,
            "agent": entry.agent,
            "number": mask_number(entry.number),
            "text": read(entry.text),
            "at": entry.at,
            "done_at": entry.done_at,
            "length_s": entry.length_s,
            "recorded": bool(entry.path),
            "campaign": entry.campaign,
        }
    )
