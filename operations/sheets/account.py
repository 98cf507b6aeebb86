"""A service account's token for the spreadsheet: asked for in a thread, kept until it is old."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from google.auth import exceptions, transport
from google.oauth2 import service_account

from bot.clock import Clock
from fallbacks.failure import Kind
from operations.sheets.refusal import SheetError

SCOPE: Final = "https://www.googleapis.com/auth/spreadsheets"
ASK_S: Final = 10.0
FRESH_S: Final = 3000.0  # a token is good for an hour


class TokenAnswer(transport.Response):
    """What came back, as google-auth reads it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status = status
        self._headers = headers
        self._data = data

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers."""
        return self._headers

    @property
    def data(self) -> bytes:
        """Return the body."""
        return self._data


class TokenRequest(transport.Request):
    """Asks with Python's own client: google-auth brings none that needs no further package."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = ASK_S,
        **_: Any,
    ) -> TokenAnswer:
        """Return the answer; blocks."""
        asked = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 - the account's own
        try:
            with urllib.request.urlopen(asked, timeout=ASK_S) as answer:  # noqa: S310 - as above
                return TokenAnswer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as refused:
            return TokenAnswer(refused.code, dict(refused.headers), refused.read())
        except (OSError, HTTPException) as gone:
            raise exceptions.TransportError(type(gone).__name__) from gone


class ServiceAccount:
    """Gives the token of an account whose key stands in a file."""

    def __init__(self, file: Path, *, clock: Clock) -> None:
        """Use the key in `file`, which is read when a token is first asked for."""
        self._file = file
        self._clock = clock
        self._token = ""
        self._until_s = 0.0

    async def token(self) -> str:
        """Return a token that is good.

        Raises:
            SheetError: The file holds no account, or nobody gives us a token for it.
        """
        if self._clock() >= self._until_s:
            self._token = await asyncio.to_thread(self._ask)
            self._until_s = self._clock() + FRESH_S
        return self._token

    def forget(self) -> None:
        """Ask for another one the next time: this one was refused."""
        self._until_s = 0.0

    def _ask(self) -> str:
        try:
            told = json.loads(self._file.read_text(encoding="utf-8"))
            account = service_account.Credentials.from_service_account_info(told, scopes=[SCOPE])
        except (OSError, ValueError, exceptions.GoogleAuthError):  # its text may show the key
            raise SheetError(Kind.AUTH, "the credentials file holds no service account") from None
        try:
            account.refresh(TokenRequest())
        except (exceptions.TransportError, TypeError):  # its own, of an answer that is no JSON
            raise SheetError(Kind.NETWORK, "nobody answers who gives tokens") from None
        except exceptions.GoogleAuthError:
            raise SheetError(Kind.AUTH, "no token for this service account") from None
        return str(account.token)
