"""OpenAI's own words for what went wrong: status, type, code and message of each error.

Sources: platform.openai.com/docs/guides/error-codes and /guides/rate-limits; the header sample of
community.openai.com t/1268905; help.openai.com articles 5955604 and 6614457 for the kinds of 429.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIErrorRow:
    """One error: what stands in the body."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None


_QUOTA: Final = OpenAIErrorRow(
    type="insufficient_quota",
    code="insufficient_quota",
    message=(
        "You exceeded your current quota, please check your plan and billing details. For more"
        " information on this error, read the docs:"
        " https://platform.openai.com/docs/guides/error-codes/api-errors."
    ),
)
_QUOTA_CODES: Final = (
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
)

# By status; the first row is what a status means when no code is asked for.
ROWS: Final[Mapping[int, tuple[OpenAIErrorRow, ...]]] = {
    400: (
        OpenAIErrorRow(
            type="invalid_request_error",
            code="invalid_value",
            param="messages",
            message="Invalid value for 'messages'.",
        ),
        OpenAIErrorRow(
            type="invalid_request_error",
            code="context_length_exceeded",
            param="messages",
            message=(
                "This model's maximum context length is 128000 tokens. However, your messages"
                " resulted in more tokens than that. Please reduce the length of the messages."
            ),
        ),
        OpenAIErrorRow(
            type="invalid_request_error",
            code="unsupported_parameter",
            param="temperature",
            message="Unsupported parameter: 'temperature' is not supported with this model.",
        ),
        OpenAIErrorRow(
            type="invalid_request_error",
            code="content_policy_violation",
            message="Your request was rejected as a result of our safety system.",
        ),
        OpenAIErrorRow(
            type="invalid_request_error",
            code="invalid_prompt",
            message="Invalid prompt: your prompt was flagged as potentially violating our policy.",
        ),
    ),
    401: (
        OpenAIErrorRow(
            type="invalid_request_error",
            code="invalid_api_key",
            message=(
                "Incorrect API key provided. You can find your API key at"
                " https://platform.openai.com/account/api-keys."
            ),
        ),
    ),
    402: (_QUOTA,),
    403: (
        OpenAIErrorRow(
            type="request_forbidden",
            code="unsupported_country_region_territory",
            message="Country, region, or territory not supported",
        ),
    ),
    404: (
        OpenAIErrorRow(
            type="invalid_request_error",
            code="model_not_found",
            param="model",
            message="The model does not exist or you do not have access to it.",
        ),
    ),
    408: (OpenAIErrorRow(type="server_error", message="Request timed out."),),
    409: (
        OpenAIErrorRow(
            type="invalid_request_error", message="The resource is being changed; try again."
        ),
    ),
    413: (OpenAIErrorRow(type="invalid_request_error", message="Request body is too large."),),
    422: (OpenAIErrorRow(type="invalid_request_error", message="Unprocessable entity."),),
    429: (
        OpenAIErrorRow(
            type="requests",
            code="rate_limit_exceeded",
            message=(
                "Rate limit reached for gpt-4.1-mini in organization org-lab on requests per min"
                " (RPM): Limit 5000, Used 5000, Requested 1. Please try again in 1.2s."
            ),
        ),
        OpenAIErrorRow(
            type="rate_limit_error",
            code="slow_down",
            message="Your requests grew too fast. Please slow down and try again.",
        ),
        _QUOTA,
        *(replace(_QUOTA, code=code) for code in _QUOTA_CODES),
    ),
    500: (
        OpenAIErrorRow(
            type="server_error",
            message=(
                "The server had an error processing your request. Sorry about that! You can retry"
                " your request, or contact us through our help center if you keep seeing this."
            ),
        ),
    ),
    503: (
        OpenAIErrorRow(
            type="service_unavailable_error",
            code="server_is_overloaded",
            message="The engine is currently overloaded, please try again later",
        ),
    ),
}

# What stands between answers these in HTML, not in JSON.
EDGE: Final = frozenset({502, 504, *range(520, 525)})


def body(status: int, code: str | None = None) -> dict[str, Any]:
    """Return the JSON body of an error.

    Args:
        status: The HTTP status.
        code: Which of the status's rows; a code that OpenAI does not have is put into the first.
    """
    rows = ROWS.get(
        status, (OpenAIErrorRow(type="invalid_request_error", message="Unknown error."),)
    )
    row = next((each for each in rows if code is not None and each.code == code), rows[0])
    return error(row.type, row.message, code=code or row.code, param=row.param)


def error(
    kind: str, message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return an error body in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def page(status: int) -> str:
    """Return the HTML page that the edge in front of the service answers with."""
    return (
        f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status}</h1></center>\r\n<hr><center>cloudflare</center>\r\n"
        "</body>\r\n</html>\r\n"
    )
