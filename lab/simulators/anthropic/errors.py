"""Anthropic's errors. Source: docs.anthropic.com/en/api/errors."""

from collections.abc import Mapping
from typing import Any, Final

NO_CREDIT: Final = "credit"
TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
MESSAGES: Final[Mapping[int | str, str]] = {
    401: "invalid x-api-key",
    404: "model: no-such-model",
    429: "This request would exceed your organization's rate limit of 50 requests per minute.",
    500: "Internal server error",
    503: "Overloaded",
    529: "Overloaded",
    NO_CREDIT: "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
    "Billing to upgrade or purchase credits.",
}


def body(status: int, code: str | None = None, *, message: str = "") -> dict[str, Any]:
    """Return the JSON body of an error.

    Args:
        status: The HTTP status.
        code: A type of error, or `NO_CREDIT`; `None` for the status's own type.
        message: The text; empty for the usual one.
    """
    known = TYPES.get(status, "overloaded_error" if status == 503 else "api_error")
    kind = code if code and code != NO_CREDIT else known
    text = message or MESSAGES.get(code or status) or MESSAGES.get(status, "invalid request")
    return {
        "type": "error",
        "error": {"type": kind, "message": text},
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    }
