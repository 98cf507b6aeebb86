"""The meaning of each symptom: tables for classification, in which the first matching row wins.

Sources: OpenAI's error codes guide; Deepgram's pages on errors and on DATA and NET codes;
Cartesia's pages on API errors and concurrency; ElevenLabs' error messages and help articles;
Twilio's and Telnyx's REST error lists; RFC 6455 §7.4.1 for close codes; our own measurements of the
providers' clients. Rows without a source are our own choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fallbacks.failure import Finding, Kind, Scope, finding


class Moment(StrEnum):
    """What was in progress when a stream failed."""

    IDLE = "idle"  # no request was pending
    ASKED = "asked"  # a request was pending, without useful output yet
    FLOWING = "flowing"  # useful output had begun


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomRow:
    """One row of a table; an empty field matches everything."""

    found: Finding
    providers: frozenset[str] = frozenset()
    stage: str = ""
    codes: frozenset[int] = frozenset()  # HTTP statuses, or close codes
    words: frozenset[str] = frozenset()  # one of them is a code, type or status in the response
    # Part of the message, in lower case; of a close reason, only letters and digits are compared.
    says: str = ""
    moments: frozenset[Moment] = frozenset()


def _row(
    found: Finding,
    *codes: int,
    on: str = "",
    stage: str = "",
    words: str = "",
    says: str = "",
    moments: tuple[Moment, ...] = (),
) -> SymptomRow:
    """Return a row; `on` (providers) and `words` are lists separated by blanks."""
    return SymptomRow(
        found=found,
        providers=frozenset(on.split()),
        stage=stage,
        codes=frozenset(codes),
        words=frozenset(words.split()),
        says=says,
        moments=frozenset(moments),
    )


_TIMEOUT: Final = finding(Kind.TIMEOUT)
_NETWORK: Final = finding(Kind.NETWORK)
_LIMITED: Final = finding(Kind.RATE_LIMITED)
_OVERLOADED: Final = finding(Kind.OVERLOADED)
_QUOTA: Final = finding(Kind.QUOTA)
_AUTH: Final = finding(Kind.AUTH)
_BAD: Final = finding(Kind.BAD_REQUEST)
_PAYLOAD: Final = finding(Kind.BAD_REQUEST, Scope.PAYLOAD)
_NOT_FOUND: Final = finding(Kind.NOT_FOUND)
_PROTOCOL: Final = finding(Kind.PROTOCOL)
_CUT: Final = finding(Kind.CUT)
_SILENT: Final = finding(Kind.SILENT)
_NORMAL: Final = finding(Kind.CUT, harmless=True)

UNKNOWN: Final = finding(Kind.PROTOCOL, unknown=True)
"""The finding if no row matches: the failure is treated as transient, and reported as unknown."""

_SPENT: Final = (
    "insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded "
    "project_spend_limit_exceeded organization_usage_limit_exceeded"
)

_MODERATION: Final = ("flagged", "moderation", "content policy", "content_policy", "safety")
"""Words in a refusal of a model's provider that show that the content caused it, not our key."""

HTTP: Final = (
    # Carriers, which have error codes of their own.
    _row(_AUTH, on="twilio", words="20003"),
    _row(finding(Kind.NOT_FOUND, harmless=True), on="twilio", words="20404"),  # already hung up
    _row(_LIMITED, on="twilio", words="20429 10004"),
    _row(_PAYLOAD, on="twilio", words="21211 21214 21215 21216 21217"),  # this number is invalid
    _row(_PAYLOAD, on="telnyx", words="10002 10016"),  # the same: no number, or not in E.164
    _row(_PAYLOAD, 403, on="exotel", says="ndnc"),  # India's national do-not-call registry
    # With any status: a 403 alone would retire every rung with the same key.
    _row(_NOT_FOUND, words="voice_not_found model_not_found voice_id_does_not_exist"),
    # 429 and 401 each have two meanings.
    _row(_QUOTA, 429, on="openai", words=_SPENT),
    _row(_QUOTA, *range(400, 500), on="elevenlabs", words="quota_exceeded"),
    _row(_QUOTA, 402),
    _row(_PAYLOAD, 429, on="openai", says="request too large"),  # it exceeds a minute's limit
    _row(_OVERLOADED, 429, on="elevenlabs", words="system_busy"),
    _row(_LIMITED, 429),
    _row(_OVERLOADED, 500, 502, 503, 504, *range(520, 530)),
    *(_row(_BAD, 403, on="openai", says=words) for words in _MODERATION),
    _row(finding(Kind.AUTH, Scope.REQUEST), 403, on="openai"),  # the key, or the call's content
    _row(_AUTH, 401, 403),
    _row(_NOT_FOUND, 404, 410),
    _row(
        _PAYLOAD,
        400,
        words="context_length_exceeded content_policy_violation invalid_prompt "
        "max_character_limit_exceeded",
    ),
    _row(_PAYLOAD, 400, on="deepgram", says="failed to process audio"),  # this recording only
    _row(_PAYLOAD, 413),  # too large: to be split or trimmed
    _row(_BAD, 400, 405, 411, 414, 415, 422),
    _row(_TIMEOUT, 408),
    _row(_OVERLOADED, 409, 425),
    # RFC 9110: any other 4xx is about the request; gateways use 424, 446 and 451 for its content.
    _row(finding(Kind.BAD_REQUEST, permanent=False, unknown=True), *range(400, 500), on="openai"),
    _row(_PROTOCOL, *range(100, 400)),  # such as a redirect, or a page in place of an upgrade
    _row(finding(Kind.OVERLOADED, unknown=True), *range(500, 600)),
)
"""An HTTP response, including one to an upgrade request."""

MESSAGES: Final = (
    _row(_PROTOCOL, on="elevenlabs", words="input_timeout_exceeded", moments=(Moment.ASKED,)),
    _row(_NORMAL, on="elevenlabs", words="input_timeout_exceeded", moments=(Moment.IDLE,)),
    _row(_CUT, on="elevenlabs", words="input_timeout_exceeded", moments=(Moment.FLOWING,)),
    _row(_QUOTA, words=f"{_SPENT} quota_exceeded"),
    _row(
        _AUTH,
        words="invalid_api_key needs_authorization missing_permissions detected_unusual_activity",
    ),
    _row(_NOT_FOUND, words="voice_not_found voice_id_does_not_exist model_not_found"),
    _row(_LIMITED, on="elevenlabs", words="too_many_concurrent_requests concurrent_limit_exceeded"),
    _row(_LIMITED, words="rate_limit_exceeded slow_down concurrency_limited too_many_requests"),
    _row(_PAYLOAD, words="context_length_exceeded content_policy_violation invalid_prompt"),
    _row(_PAYLOAD, words="max_character_limit_exceeded"),
    _row(_PROTOCOL, on="elevenlabs", words="max_active_conversations"),
    _row(_OVERLOADED, on="elevenlabs", words="system_busy"),
    _row(_BAD, words="invalid_parameters invalid_value unsupported_parameter unsupported_value"),
    # Deepgram rejects one of our messages, and continues to transcribe.
    _row(finding(Kind.PROTOCOL, goes_on=True), on="deepgram", words="error configurefailure"),
    _row(_CUT, on="openai", moments=(Moment.FLOWING,)),
    _row(_OVERLOADED, words="server_error server_is_overloaded service_unavailable_error"),
)
"""An error message inside an open stream, if `HTTP` does not classify it by a status."""

CLOSES: Final = (
    _row(finding(Kind.PROTOCOL, Scope.CONFIGURATION, permanent=True), on="deepgram", says="data0"),
    _row(_NETWORK, 1011, on="deepgram", says="net0001"),  # we sent no audio: check the keep-alive
    _row(_NETWORK, 1011, on="deepgram", says="didnotreceiveaudio"),  # the same, without its link
    _row(_OVERLOADED, 1011, on="deepgram", says="net0000"),
    # A recogniser always has work, so even a clean close is a cut if we did not request it.
    _row(_CUT, 1000, 1001, stage="stt"),
    _row(_NORMAL, 1000, 1001, moments=(Moment.IDLE,)),
    _row(_CUT, 1000, 1001, 1005, 1006, 1011, moments=(Moment.FLOWING,)),
    _row(_NETWORK, 1000, 1001, 1005, 1006),
    _row(_NETWORK, 1011, on="cartesia"),
    _row(_OVERLOADED, 1011, 1012, 1013, 1014),
    _row(_NETWORK, 1015),  # TLS
    _row(_PROTOCOL, 1002, 1003, 1007, 1008, 1009, 1010),
)
"""A WebSocket close that we did not request. ElevenLabs' 1008 is classified by its reason first."""


class Symptom(StrEnum):
    """A failure that we observe ourselves, without an error message of the provider."""

    NO_ANSWER = "no_answer"  # no connection or no headers in time
    FIRST_LATE = "first_late"  # no useful output in time
    GAP = "gap"  # useful output began, then none for too long
    END_UNFINISHED = "end_unfinished"  # the stream ended before the protocol's end of the answer
    NO_RESULTS = "no_results"  # no words for speech
    FINALIZE_UNANSWERED = "finalize_unanswered"  # no final text after a request for it
    NO_AUDIO = "no_audio"  # no audio for text
    SHORT_AUDIO = "short_audio"  # too short for the number of words
    ZERO_AUDIO = "zero_audio"  # every sample is 0
    NO_TEXT = "no_text"  # an answer without a word
    GARBAGE = "garbage"  # unparseable, or of the wrong type
    ODD_AUDIO = "odd_audio"  # half a sample


SYMPTOMS: Final[Mapping[Symptom, Finding]] = {
    Symptom.NO_ANSWER: _TIMEOUT,
    Symptom.FIRST_LATE: _TIMEOUT,
    Symptom.GAP: finding(Kind.STALLED),
    Symptom.END_UNFINISHED: _CUT,
    Symptom.NO_RESULTS: _SILENT,
    Symptom.FINALIZE_UNANSWERED: _SILENT,
    Symptom.NO_AUDIO: _SILENT,
    Symptom.SHORT_AUDIO: _SILENT,
    Symptom.ZERO_AUDIO: _SILENT,
    Symptom.NO_TEXT: _SILENT,
    Symptom.GARBAGE: _PROTOCOL,
    Symptom.ODD_AUDIO: _PROTOCOL,
}
SHORT_AUDIO_S: Final = 0.04  # per word; less cannot be speech (chosen: docs/how-it-stays-up.md)

ERROR_NAMES: Final[Mapping[str, Finding]] = {
    # Of openai, httpx, aiohttp and websockets; by name, so that none of them is imported here.
    "APITimeoutError": _TIMEOUT,
    "APIConnectionError": _NETWORK,
    "ConnectTimeout": _TIMEOUT,
    "ReadTimeout": _TIMEOUT,
    "WriteTimeout": _TIMEOUT,
    "PoolTimeout": _TIMEOUT,
    "ConnectError": _NETWORK,
    "ReadError": _NETWORK,
    "WriteError": _NETWORK,
    "RemoteProtocolError": _NETWORK,
    "ClientConnectionError": _NETWORK,
    "ClientPayloadError": _NETWORK,
    "ServerDisconnectedError": _NETWORK,
    "ConnectionClosedError": _NETWORK,
    "InvalidMessage": _NETWORK,
    "JSONDecodeError": _PROTOCOL,
    "UnicodeDecodeError": _PROTOCOL,
    "SecurityError": _PROTOCOL,  # a redirect, which we do not follow
}
