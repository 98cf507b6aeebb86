"""A CRM over REST: pages of contacts, search by number, and call reports with idempotency keys.

A report with a known key gets the same answer again, and is kept only once. HubSpot's paths lead to
the same contacts and reports. Source: developers.hubspot.com, CRM API v3 (objects/contacts,
objects/contacts/search, objects/calls); the keys follow the draft
ietf-httpapi-idempotency-key-header.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.instance import Core, Instance
from lab.simulators.pace import Tempo
from lab.simulators.schedule import Window
from lab.simulators.server import abort

MAX_ON_A_PAGE: Final = 100  # HubSpot's own limit for lists


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """One contact; `more` holds further fields."""

    id: str
    number: str
    name: str = ""
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    def plain(self) -> dict[str, Any]:
        """Return the CRM's own format."""
        return {"id": self.id, "number": self.number, "name": self.name, **self.more}

    def as_hubspot(self) -> dict[str, Any]:
        """Return HubSpot's format, in which everything but the id is a property."""
        first, _, last = self.name.partition(" ")
        properties = {"phone": self.number, "firstname": first, "lastname": last}
        return {"id": self.id, "properties": {**properties, **self.more}}


def page_of(
    people: Sequence[KnownPerson], after: str, limit: str
) -> tuple[Sequence[KnownPerson], str]:
    """Return the page of contacts after a cursor, and the next cursor; empty on the last page."""
    begin = int(after) if after.isdecimal() else 0
    size = min(int(limit), MAX_ON_A_PAGE) if limit.isdecimal() else MAX_ON_A_PAGE
    until = begin + max(1, size)
    return people[begin:until], str(until) if until < len(people) else ""


class RegisterSimulator(Instance):
    """One CRM with its reports: `async with RegisterSimulator() as register`.

    Attributes:
        people: Its contacts.
        book: The reports by key, in the order of arrival.
        repeats: How many reports came with a known key.
        link_origin: The origin of its links to further pages; empty for its own address.
    """

    kind: ClassVar[str] = "register"
    tempo: ClassVar[Tempo] = Tempo(ttfb_s=0.06, rate=50.0, source="chosen: one query of a database")

    def __init__(self, *, people: Sequence[KnownPerson] = (), core: Core | None = None) -> None:
        super().__init__("register", core=core)
        self.people = list(people)
        self.book: dict[str, dict[str, Any]] = {}
        self.repeats = 0
        self.link_origin = ""

    async def __aenter__(self) -> "RegisterSimulator":
        """Listen on a free port of loopback."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        await self.stop()

    def fail(self, share: float) -> None:
        """Fail this share of all requests: a third of them are carried out, but not answered."""
        refused = Window(fault=faults.Http(status=503), p=share)
        self.set_faults([refused, Window(fault=faults.Cut(), p=share / 3)])

    def routes(self) -> list[web.RouteDef]:
        """Return its own paths and HubSpot's."""
        hubspot = "/crm/v3/objects"
        return [
            web.get("/v1/people", self._serve_people),
            web.get("/v1/linked", self._serve_linked_page),
            web.post("/v1/calls", self._keep_report),
            web.get(f"{hubspot}/contacts", self._serve_contacts),
            web.post(f"{hubspot}/contacts/search", self._serve_search),
            web.post(f"{hubspot}/calls", self._keep_report),
        ]

    async def _serve_people(self, request: web.Request) -> web.StreamResponse:
        """Find the people with a number, or list a page of all."""
        admission, query = await self._admit_late(request), request.query
        if number := query.get("number", ""):
            found, after = [person for person in self.people if person.number == number], ""
        else:
            found, after = page_of(self.people, query.get("after", ""), query.get("limit", ""))
        body = {"results": [person.plain() for person in found], "next": after or None}
        return self._answer_unless_cut(request, admission, body)

    async def _serve_linked_page(self, request: web.Request) -> web.StreamResponse:
        """Give the next page as a complete URL, as OData and Django's REST framework do."""
        admission, query = await self._admit_late(request), request.query
        found, after = page_of(self.people, query.get("after", ""), query.get("limit", ""))
        link = f"{self.link_origin or self.url}/v1/linked?limit={len(found)}&after={after}"
        body = {"value": [person.plain() for person in found], "next": link if after else None}
        return self._answer_unless_cut(request, admission, body)

    async def _serve_contacts(self, request: web.Request) -> web.StreamResponse:
        """List a page of the people as HubSpot does, with the cursor of the next page."""
        admission, query = await self._admit_late(request), request.query
        found, after = page_of(self.people, query.get("after", ""), query.get("limit", "10"))
        body: dict[str, Any] = {"results": [person.as_hubspot() for person in found]}
        if after:
            body["paging"] = {"next": {"after": after}}
        return self._answer_unless_cut(request, admission, body)

    async def _serve_search(self, request: web.Request) -> web.StreamResponse:
        """Find people by number, as HubSpot's search does; other filters are ignored."""
        admission, asked = await self._admit_late(request), json.loads(await request.read())
        filters = [item for group in asked["filterGroups"] for item in group["filters"]]
        numbers = {item["value"] for item in filters if item["operator"] == "EQ"}
        found = [person.as_hubspot() for person in self.people if person.number in numbers]
        body = {"total": len(found), "results": found[: int(asked.get("limit", 10))]}
        return self._answer_unless_cut(request, admission, body)

    async def _keep_report(self, request: web.Request) -> web.StreamResponse:
        """Keep a report, unless its key is known; it is kept even if the answer gets lost."""
        admission = await self._admit_late(request)
        report: dict[str, Any] = json.loads(await request.read())
        key = request.headers.get("Idempotency-Key") or f"without a key {len(self.book)}"
        known = key in self.book
        self.repeats += known
        self.book.setdefault(key, report)
        return self._answer_unless_cut(
            request, admission, {"id": key}, status=200 if known else 201
        )

    async def _admit_late(self, request: web.Request) -> Admission:
        """Admit a request, and wait for the delay of an answer."""
        admission = await self.admit(request)
        await self.pace.wait_first()
        return admission

    def _answer_unless_cut(
        self, request: web.Request, admission: Admission, body: Any, *, status: int = 200
    ) -> web.StreamResponse:
        """Return the answer; if the fault is a cut, break the connection, so that it is lost."""
        if isinstance(admission.fault, faults.Cut):
            admission.close("answer lost")
            abort(request.transport)
        return web.json_response(body, status=status)
