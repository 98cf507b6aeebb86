"""OpenAI's errors: status, type, code and message of each.

Sources: platform.openai.com/docs/guides/error-codes and /guides/rate-limits; the header sample of
community.openai.com t/1268905; help.openai.com articles 5955604 and 6614457 for the kinds of 429.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class OpenAIErrorRow:
    """The body of one error."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None


_BAD: Final = "invalid_request_error"
_QUOTA: Final = OpenAIErrorRow(
    "insufficient_quota",
    "You exceeded your current quota, please check your plan and billing details. For more"
    " information on this error, read the docs:"
    " https://platform.openai.com/docs/guides/error-codes/api-errors.",
    "insufficient_quota",
)
_QUOTA_CODES: Final = (
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
)
_CONTEXT: Final = (
    "This model's maximum context length is 128000 tokens. However, your messages resulted in more"
    " tokens than that. Please reduce the length of the messages."
)
_PARAMETER: Final = "Unsupported parameter: 'temperature' is not supported with this model."
_SAFETY: Final = "Your request was rejected as a result of our safety system."
_FLAGGED: Final = "Invalid prompt: your prompt was flagged as potentially violating our policy."
_KEY: Final = (
    "Incorrect API key provided. You can find your API key at"
    " https://platform.openai.com/account/api-keys."
)
_COUNTRY: Final = "Country, region, or territory not supported"
_MODEL: Final = "The model does not exist or you do not have access to it."
_RATE: Final = (
    "Rate limit reached for gpt-4.1-mini in organization org-lab on requests per min (RPM): Limit"
    " 5000, Used 5000, Requested 1. Please try again in 1.2s."
)
_FAST: Final = "Your requests grew too fast. Please slow down and try again."
_SERVER: Final = (
    "The server had an error processing your request. Sorry about that! You can retry your"
    " request, or contact us through our help center if you keep seeing this."
)
_LOADED: Final = "The engine is currently overloaded, please try again later"

# By status; the first row applies without a code.
ROWS: Final[Mapping[int, tuple[OpenAIErrorRow, ...]]] = {
    400: (
        OpenAIErrorRow(_BAD, "Invalid value for 'messages'.", "invalid_value", "messages"),
        OpenAIErrorRow(_BAD, _CONTEXT, "context_length_exceeded", "messages"),
        OpenAIErrorRow(_BAD, _PARAMETER, "unsupported_parameter", "temperature"),
        OpenAIErrorRow(_BAD, _SAFETY, "content_policy_violation"),
        OpenAIErrorRow(_BAD, _FLAGGED, "invalid_prompt"),
    ),
    401: (OpenAIErrorRow(_BAD, _KEY, "invalid_api_key"),),
    402: (_QUOTA,),
    403: (OpenAIErrorRow("request_forbidden", _COUNTRY, "unsupported_country_region_territory"),),
    404: (OpenAIErrorRow(_BAD, _MODEL, "model_not_found", "model"),),
    408: (OpenAIErrorRow("server_error", "Request timed out."),),
    409: (OpenAIErrorRow(_BAD, "The resource is being changed; try again."),),
    413: (OpenAIErrorRow(_BAD, "Request body is too large."),),
    422: (OpenAIErrorRow(_BAD, "Unprocessable entity."),),
    429: (
        OpenAIErrorRow("requests", _RATE, "rate_limit_exceeded"),
        OpenAIErrorRow("rate_limit_error", _FAST, "slow_down"),
        _QUOTA,
        *(replace(_QUOTA, code=code) for code in _QUOTA_CODES),
    ),
    500: (OpenAIErrorRow("server_error", _SERVER),),
    503: (OpenAIErrorRow("service_unavailable_error", _LOADED, "server_is_overloaded"),),
}

# A proxy in front of the service answers these in HTML, not in JSON.
EDGE: Final = frozenset({502, 504, *range(520, 525)})


def body(status: int, code: str | None = None) -> dict[str, Any]:
    """Return the JSON body of an error.

    Args:
        status: The HTTP status.
        code: Selects one of the status's rows; an unknown code is put into the first row.
    """
    rows = ROWS.get(status, (OpenAIErrorRow(_BAD, "Unknown error."),))
    row = next((row for row in rows if code is not None and row.code == code), rows[0])
    return error(row.type, row.message, code=code or row.code, param=row.param)


def error(
    kind: str, message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return an error body in OpenAI's format."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def page(status: int) -> str:
    """Return the HTML page of the proxy in front of the service."""
    return (
        f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status}</h1></center>\r\n<hr><center>cloudflare</center>\r\n"
        "</body>\r\n</html>\r\n"
    )
