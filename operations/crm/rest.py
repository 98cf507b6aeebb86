"""A CRM over HTTP and JSON, with requests from the configuration."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit

import yaml
from pydantic import TypeAdapter

from calls.caller import without_halves
from fallbacks.failure import Kind
from operations.crm.customer import CrmContact, CrmReport, dig, fill
from operations.remote import RemoteError, check_accepted
from operations.remote import ask_remote as send
from runtime.http import parse_json

PORTS: Final = {"http": 80, "https": 443}
FULL_URL: Final = re.compile(r"https?://", re.IGNORECASE)
SAFE_LINK: Final = re.compile(r"[!-\[\]-~]{1,2000}")
"""ASCII without spaces, line breaks and backslashes: parsers disagree about those."""


def is_full_url(link: str) -> bool:
    """Return whether a next page is given as a full URL, not as a cursor."""
    return FULL_URL.match(link) is not None


def path_on_host(link: str, url: str) -> str | None:
    """Return a link's path and query; `None` if it is invalid or leads to another host than `url`.

    Each request carries the CRM's key, so a link in an answer must not decide where it is sent.
    """
    if SAFE_LINK.fullmatch(link) is None:
        return None
    try:
        there, here = urlsplit(link), urlsplit(url)
        if "@" in there.netloc or _origin_of_url(there) != _origin_of_url(here):
            return None
    except ValueError:  # an invalid port
        return None
    return (there.path or "/") + (f"?{there.query}" if there.query else "")


def root_of(url: str) -> str:
    """Return an address without its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _origin_of_url(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL, with the scheme's usual port if it names none."""
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


MAX_CRM_ANSWER_BYTES: Final = 256 << 10  # of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """One request, with placeholders such as `{number}`.

    Attributes:
        path: Relative to the address; values in it are escaped.
        body: JSON; `None` for no body.
        rooted: The path comes from the CRM itself: absolute, and without placeholders.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    rooted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestMapping:
    """The requests to a CRM and the paths in its answers.

    Attributes:
        look_up: Finds a number's contact; `None` for no look-up.
        found: The path to the first contact; leads nowhere if there is none.
        contact_id: The path to the id within a contact.
        name: The paths to the parts of the name within a contact.
        fields: The paths to further values for a model, by name.
        write: Reports a call; `None` for no reports.
        key_header: The header for a report's idempotency key; empty for no header.
    """

    look_up: RestRequest | None = None
    found: str = ""
    contact_id: str = "id"
    name: tuple[str, ...] = ("name",)
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    write: RestRequest | None = None
    key_header: str = "Idempotency-Key"


class RestCrm:
    """One CRM over HTTP."""

    def __init__(
        self,
        name: str,
        mapping: RestMapping,
        *,
        url: str,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        """Use the CRM at `url`; `mapping` translates between its fields and ours."""
        self.name = name
        self._mapping = mapping
        self._url = url
        self._headers = headers
        self._timeout_s = timeout_s

    async def look_up(self, number: str) -> CrmContact | None:
        """Return the CRM's contact with a number; `None` if there is none, or no look-up."""
        if self._mapping.look_up is None:
            return None
        try:
            answer = await self.ask(self._mapping.look_up, {"number": number})
        except RemoteError as error:
            if error.kind is Kind.NOT_FOUND:  # some CRMs answer 404 for an unknown contact
                return None
            raise
        return self._contact_from_json(dig(answer, self._mapping.found))

    async def write(self, report: CrmReport) -> None:
        """Report a call; does nothing if no request is configured for it."""
        if self._mapping.write is None:
            return
        header = self._mapping.key_header
        headers = {header: report.key} if header else {}
        await self.ask(self._mapping.write, report.values(), headers=headers, any_text=True)

    async def close(self) -> None:
        """Do nothing: its connections belong to the process."""

    def _contact_from_json(self, found: Any) -> CrmContact | None:
        """Return a contact by the configured mapping; `None` if the JSON is no object."""
        if not isinstance(found, Mapping):
            return None
        mapping = self._mapping
        name = " ".join(filter(None, (text_of(dig(found, path)) for path in mapping.name)))
        fields = {key: text_of(dig(found, path)) for key, path in mapping.fields.items()}
        return CrmContact(id=text_of(dig(found, mapping.contact_id)), name=name, fields=fields)

    async def ask(
        self,
        request: RestRequest,
        values: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = MAX_CRM_ANSWER_BYTES,
        any_text: bool = False,
    ) -> Any:
        """Send a request with these values; return the answer's JSON, or `None`.

        With `any_text`, the answer may also be a text such as "OK", but no page: that may be of a
        proxy.

        Raises:
            RemoteError: The CRM refused, did not answer, or sent too much or no JSON.
        """
        url = self._address_of_request(request, values)
        body = None if request.body is None else json.dumps(fill(request.body, values)).encode()
        status, answer_headers, text = await send(
            request.method,
            url,
            timeout_s=self._timeout_s,
            body=body,
            headers={**self._headers, **(headers or {})},
            most_bytes=most_bytes,
        )
        check_accepted(status, answer_headers)
        if any_text and not text.lstrip().startswith(b"<"):
            return None
        try:
            return await asyncio.to_thread(parse_json, text) if text.strip() else None
        except ValueError:
            raise RemoteError(Kind.PROTOCOL, "the answer is not JSON") from None

    def _address_of_request(self, request: RestRequest, values: Mapping[str, Any]) -> str:
        """Return a request's address, with escaped values in its path; `rooted` paths have none."""
        if request.rooted:
            return root_of(self._url) + request.path
        escaped = {key: quote(str(value), safe="") for key, value in values.items()}
        return self._url.rstrip("/") + fill(request.path, escaped)


def text_of(value: Any) -> str:
    """Return a value as text; empty for a list or an object.

    Half a character, such as a CRM leaves when it cuts an emoji, is dropped: files and requests,
    including a model's, cannot contain it.
    """
    return "" if value is None or isinstance(value, dict | list) else without_halves(str(value))


HUBSPOT_URL: Final = "https://api.hubapi.com"
HUBSPOT_FIELDS: Final = ("firstname", "lastname", "email", "company", "lifecyclestage")

HUBSPOT: Final = TypeAdapter(RestMapping).validate_python(
    yaml.safe_load(Path(__file__).with_name("hubspot.yaml").read_text(encoding="utf-8"))
)
