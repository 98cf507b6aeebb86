"""Deepgram's refusals: HTTP bodies with their `dg-error` header, and close codes.

Source: deepgram-docs, "Errors" and "WebSocket DATA and NET errors".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from lab.simulators.deepgram.results import new_id

REQUEST_ID: Final = "dg-request-id"
ERROR: Final = "dg-error"

CLOSE_BAD_DATA: Final = (1008, b"DATA-0000")  # bytes that are not audio in the stated encoding
CLOSE_NO_DATA: Final = (1011, b"NET-0001")  # neither audio nor KeepAlive in time
CLOSE_SERVER: Final = (1011, b"NET-0000")  # an error of the server


@dataclass(frozen=True, slots=True)
class DeepgramErrorRow:
    """A row of the error table: Deepgram's code and sentence."""

    code: str
    text: str


USUAL_ROWS: Final[Mapping[int, DeepgramErrorRow]] = {
    400: DeepgramErrorRow(
        "INVALID_QUERY_PARAMETER", "No such model/language/tier combination found."
    ),
    401: DeepgramErrorRow("INVALID_AUTH", "Invalid credentials."),
    402: DeepgramErrorRow(
        "ASR_PAYMENT_REQUIRED",
        "Project does not have enough credits for an ASR request and does not have an overage"
        " agreement.",
    ),
    403: DeepgramErrorRow(
        "INSUFFICIENT_PERMISSIONS", "Project does not have access to the requested model."
    ),
    404: DeepgramErrorRow("PROJECT_NOT_FOUND", "Project not found."),
    429: DeepgramErrorRow("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    503: DeepgramErrorRow("Service Unavailable", "Please try again later"),
}
ROWS_OF_CODES: Final[Mapping[str, DeepgramErrorRow]] = {  # by the code in a fault
    "Bad Request": DeepgramErrorRow("Bad Request", "The request is malformed."),
    "INSUFFICIENT_PERMISSIONS": DeepgramErrorRow(
        "INSUFFICIENT_PERMISSIONS", "User does not have sufficient permissions."
    ),
}
LAST_RESORT: Final = DeepgramErrorRow("Internal Server Error", "Please try again later")


def error_row(status: int, code: str | None = None) -> DeepgramErrorRow:
    """Return Deepgram's texts for a status, or for one of the status's codes."""
    usual = USUAL_ROWS.get(status, LAST_RESORT)
    if code is None or code == usual.code:
        return usual
    return ROWS_OF_CODES.get(code, DeepgramErrorRow(code, usual.text))


def response(
    status: int,
    *,
    code: str | None = None,
    text: str | None = None,
    retry_after_s: float | None = None,
) -> web.Response:
    """Return the HTTP answer, with Deepgram's body and headers.

    Args:
        status: The HTTP status.
        code: Deepgram's code; `None` for the usual one.
        text: Its sentence, if not the usual one.
        retry_after_s: For the header `retry-after`; Deepgram documents none.
    """
    row = error_row(status, code)
    request_id = new_id()
    headers = {REQUEST_ID: request_id, ERROR: text or row.text}
    if retry_after_s is not None:
        headers["retry-after"] = f"{retry_after_s:g}"
    key = "error_code" if status == 503 else "err_code"  # as documented for the 503 body
    body = {key: row.code, "err_msg": text or row.text, "request_id": request_id}
    return web.json_response(body, status=status, headers=headers)
