"""ElevenLabs's errors over HTTP and at the websocket's upgrade.

Source: elevenlabs.io/docs/eleven-api/resources/errors; the texts are from users' reports.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

# status: type, code, message
USUAL: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("validation_error", "invalid_parameters", "The request parameters are invalid."),
    401: ("authentication_error", "invalid_api_key", "Invalid API key"),
    402: ("payment_required", "payment_required", "Your plan does not include this."),
    403: ("authorization_error", "only_for_creator+", "This needs the plan Creator or above."),
    404: ("not_found", "voice_not_found", "A voice with this voice_id was not found."),
    408: ("timeout", "request_timeout", "The request took too long."),
    429: (
        "rate_limit_error",
        "too_many_concurrent_requests",
        "Too many concurrent requests. Your subscription is limited in how many may run at once.",
    ),
    500: ("internal_error", "internal_server_error", "An unexpected error occurred."),
    503: ("service_unavailable", "service_unavailable", "The service is unavailable."),
}
MESSAGES: Final[Mapping[str, str]] = {
    "quota_exceeded": (
        "This request exceeds your quota of 10000. You have 0 credits remaining, while 91 credits "
        "are required for this request."
    ),
    "system_busy": "The system is experiencing heavy traffic, please try again.",
    "detected_unusual_activity": "Unusual activity detected. Free Tier usage disabled.",
}


def detail(status: int, *, code: str | None = None, message: str | None = None) -> dict[str, Any]:
    """Return the body of an error: `code` is the new field, `status` the legacy one."""
    kind, usual, words = USUAL.get(status, ("error", "error", "The request failed."))
    name = code or usual
    return {
        "detail": {
            "type": kind,
            "code": name,
            "status": name,
            "message": message or MESSAGES.get(name, words),
            "request_id": uuid.uuid4().hex,
            "param": None,
        }
    }


def unprocessable(field: str) -> dict[str, Any]:
    """Return the web layer's own body for 422, in which `detail` is a list."""
    return {"detail": [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]}
