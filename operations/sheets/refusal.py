"""What a spreadsheet that did not do what it was asked says, without an address or a key."""

import aiohttp

from fallbacks.failure import Failure, Kind, failed

SHEETS = "sheets"
GOOGLE = "google"
KINDS = {401: Kind.AUTH, 403: Kind.AUTH, 404: Kind.NOT_FOUND, 429: Kind.RATE_LIMITED}


class SheetError(Exception):
    """It was not done; `certain` says whether we know that."""

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
        """Return it as every failure is told."""
        return failed(
            self.kind,
            SHEETS,
            provider=GOOGLE,
            reason=self.reason,
            retry_after_s=self.retry_after_s,
        )


def answered(status: int, why: str = "", *, retry_after_s: float | None = None) -> SheetError:
    """Return what an HTTP status means; after one from 500 on, the rows may stand there."""
    kind = KINDS.get(status, Kind.OVERLOADED if status >= 500 else Kind.BAD_REQUEST)
    said = f"answered {status}{': ' if why else ''}{why}"
    return SheetError(kind, said, certain=status < 500, retry_after_s=retry_after_s)


def went_quiet(error: Exception) -> SheetError:
    """Return what a connection's trouble means; without a connection nothing was written."""
    certain = isinstance(error, aiohttp.ClientConnectorError)
    if isinstance(error, TimeoutError):
        return SheetError(Kind.TIMEOUT, "no answer in time", certain=False)
    return SheetError(Kind.NETWORK, type(error).__name__, certain=certain)


def said_nothing() -> SheetError:
    """Return what a success means that is no answer of a spreadsheet: the rows may stand there."""
    return SheetError(Kind.PROTOCOL, "the answer is no JSON", certain=False)
