"""The spreadsheet over HTTP: appends rows unchanged, and reads keys.

`RAW` keeps a cell from being read as a formula, whatever a caller has said.
Source: Google Sheets API v4, spreadsheets.values.append and .get. Its limits: 300 writes a minute
for a project, and 60 for a user; a service account counts as a user.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiolimiter import AsyncLimiter
from google.auth import exceptions, jwt
from google.oauth2 import service_account

from configuration.sections import SheetsSettings
from fallbacks.failure import Failure, Kind, failed
from fallbacks.retry_after import retry_after_s
from operations.sheets.sheet_outbox import Cells
from runtime import clock
from runtime.clock import Clock
from runtime.http import parse_object, read_body, request

SHEETS = "sheets"
GOOGLE = "google"
KINDS = {401: Kind.AUTH, 403: Kind.AUTH, 404: Kind.NOT_FOUND, 429: Kind.RATE_LIMITED}


class SheetError(Exception):
    """A failed request; `certain` if it certainly had no effect."""

    def __init__(
        self,
        kind: Kind,
        reason: str,
        *,
        certain: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.certain = certain
        self.retry_after_s = retry_after_s

    @property
    def failure(self) -> Failure:
        """The error as a `Failure`."""
        return failed(
            self.kind,
            SHEETS,
            provider=GOOGLE,
            reason=self.reason,
            retry_after_s=self.retry_after_s,
        )


def status_error(status: int, why: str = "", *, retry_after_s: float | None = None) -> SheetError:
    """Return the error for an HTTP status; from 500 on, the rows may have been written."""
    kind = KINDS.get(status, Kind.OVERLOADED if status >= 500 else Kind.BAD_REQUEST)
    reason = f"answered {status}{': ' if why else ''}{why}"
    return SheetError(kind, reason, certain=status < 500, retry_after_s=retry_after_s)


def connection_error(error: Exception) -> SheetError:
    """Return the error for a failed connection; if it was never made, nothing was written."""
    certain = isinstance(error, aiohttp.ClientConnectorError)
    if isinstance(error, TimeoutError):
        return SheetError(Kind.TIMEOUT, "no answer in time", certain=False)
    return SheetError(Kind.NETWORK, type(error).__name__, certain=certain)


def invalid_answer() -> SheetError:
    """Return the error for a success with an invalid body: the rows may have been written."""
    return SheetError(Kind.PROTOCOL, "the answer is not JSON", certain=False)


SCOPE: Final = "https://www.googleapis.com/auth/spreadsheets"
AUDIENCE: Final = "https://oauth2.googleapis.com/token"  # even if tokens come from another address
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_S: Final = 3600  # how long the signed request is valid
ACCOUNT_ASK_S: Final = 10.0
RENEW_AFTER_S: Final = 3000.0  # a token is valid for an hour


class ServiceAccount:
    """Gets access tokens for an account whose key is in a file."""

    def __init__(self, file: Path, *, clock: Clock) -> None:
        """Use the key in `file`, which is read at the first request."""
        self._file = file
        self._clock = clock
        self._token = ""
        self._until_s = 0.0

    async def token(self) -> str:
        """Return a token, valid for at least ten more minutes unless Google revokes it.

        Raises:
            SheetError: The file contains no account, or Google grants no token for it.
        """
        if self._clock() >= self._until_s:
            self._token = await _ask_token(*await asyncio.to_thread(self._sign_token_request))
            self._until_s = self._clock() + RENEW_AFTER_S
        return self._token

    async def check(self) -> None:
        """Sign with the key in the file; raise `SheetError` if the file contains no account."""
        await asyncio.to_thread(self._sign_token_request)

    def forget(self) -> None:
        """Get a new token next time: the current one was refused."""
        self._until_s = 0.0

    def _sign_token_request(self) -> tuple[str, str]:
        """Return where to ask for a token, and the signed request (RFC 7523, 2.1)."""
        try:
            key = json.loads(self._file.read_text(encoding="utf-8"))
            account = service_account.Credentials.from_service_account_info(key, scopes=[SCOPE])
            address = str(key["token_uri"])
        except (OSError, ValueError, KeyError, exceptions.GoogleAuthError):  # may contain the key
            raise SheetError(Kind.AUTH, "the credentials file holds no service account") from None
        now = int(clock.utc_now().timestamp())  # rounded down: never in the future
        claims = {"iss": account.signer_email, "scope": SCOPE, "aud": AUDIENCE}
        assertion = jwt.encode(account.signer, {**claims, "iat": now, "exp": now + ASSERTION_S})
        return address, assertion.decode()


async def _ask_token(address: str, assertion: str) -> str:
    """Return the token for a signed request.

    Raises:
        SheetError: The server does not answer, or grants no token.
    """
    form = {"grant_type": GRANT, "assertion": assertion}
    try:
        async with (
            asyncio.timeout(ACCOUNT_ASK_S),
            request("POST", address, data=form, allow_redirects=False) as answer,
        ):
            status = answer.status
            body = parse_object(await read_body(answer.content, most_bytes=MAX_COLUMN_BYTES))
    except (TimeoutError, ValueError, aiohttp.ClientError, OSError):
        raise SheetError(Kind.NETWORK, "the token server does not answer") from None
    if status in (400, 401, 403) and body:
        raise SheetError(Kind.AUTH, "no token for this service account")
    token = body.get("access_token")
    if status != 200 or not isinstance(token, str):
        raise SheetError(Kind.NETWORK, "the token server does not answer")
    return token


SHEET_REQUEST_S: Final = 30.0
MAX_COLUMN_BYTES: Final = 32 << 20  # a column of a million keys (chosen)
PER_MINUTE: Final = 50  # of 60 for the user, who may run another program
APPENDING: Final = {"valueInputOption": "RAW", "insertDataOption": "INSERT_ROWS"}
UNAUTHORIZED: Final = 401


class Sheet:
    """One spreadsheet; methods raise `SheetError` on failure."""

    def __init__(self, settings: SheetsSettings, account: ServiceAccount) -> None:
        """Write to the spreadsheet in `settings`, as `account`."""
        place = quote(settings.spreadsheet_id, safe="")
        self._address = f"{settings.url.rstrip('/')}/v4/spreadsheets/{place}/values/"
        self._account = account
        self._pace = AsyncLimiter(PER_MINUTE, 60.0)

    async def append(self, tab: str, rows: Sequence[Cells]) -> None:
        """Append rows; after a `SheetError` that is not `certain`, they may have been written."""
        body = {"majorDimension": "ROWS", "values": [list(row) for row in rows]}
        await self._ask_for_json(
            "POST", f"{_quoted_range(tab, 'A1')}:append", params=APPENDING, json=body
        )

    async def keys(self, tab: str) -> set[str]:
        """Return the texts in the first column, which are the rows' keys and its heading."""
        column = await self._ask_for_json("GET", _quoted_range(tab, "A:A"))
        return {str(row[0]) for row in column.get("values", ()) if row}

    async def _ask_for_json(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        """Send a request, return its JSON answer; wait if there were `PER_MINUTE` in a minute.

        After a 401 the next request gets a new token.
        """
        headers = {"Authorization": f"Bearer {await self._account.token()}"}
        async with self._pace:
            status, answer, answer_headers = await self._send_request(
                method, path, headers=headers, **options
            )
        if status == UNAUTHORIZED:
            self._account.forget()
        if status >= 300:  # including redirects: we follow none
            wait_s = retry_after_s(answer_headers, utc_s=clock.utc_now().timestamp())
            raise status_error(status, _status_in_error(answer), retry_after_s=wait_s)
        if answer is None:
            raise invalid_answer()
        return answer

    async def _send_request(
        self, method: str, path: str, **options: Any
    ) -> tuple[int, Mapping[str, Any] | None, Mapping[str, str]]:
        """Return status, body and headers; the body is `None` unless it is a JSON object.

        Raises:
            SheetError: There is no answer, or it is too large.
        """
        try:
            async with (
                asyncio.timeout(SHEET_REQUEST_S),
                request(method, self._address + path, allow_redirects=False, **options) as answer,
            ):
                body = await read_body(answer.content, most_bytes=MAX_COLUMN_BYTES)
                return answer.status, parse_object(body) or None, answer.headers
        except ValueError:  # larger than `MAX_COLUMN_BYTES`
            raise invalid_answer() from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise connection_error(error) from None


def _quoted_range(tab: str, cells: str) -> str:
    """Return a range of a tab, whose name may contain anything."""
    return quote("'" + tab.replace("'", "''") + "'!" + cells, safe="!:")


def _status_in_error(answer: Mapping[str, Any] | None) -> str:
    error = answer.get("error") if answer else None
    return str(error.get("status", "")) if isinstance(error, dict) else ""
