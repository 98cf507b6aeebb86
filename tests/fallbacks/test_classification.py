"""Every documented failure of the providers, as they send it."""

import pytest

from fallbacks.classification import (
    classify_close,
    classify_error,
    classify_http,
    classify_message,
    classify_symptom,
)
from fallbacks.failure import VERDICTS, Kind, Scope
from fallbacks.symptoms import SYMPTOMS, Moment, Symptom

IDLE, ASKED, FLOWING = Moment.IDLE, Moment.ASKED, Moment.FLOWING


def openai(code: str | None, kind: str = "invalid_request_error", message: str = "") -> object:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def eleven(code: str) -> object:
    return {"detail": {"status": code, "message": "..."}}


QUOTA_CODES = (
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
)
HTTP_ROWS = [
    *[("openai", 429, openai(code, "insufficient_quota"), Kind.QUOTA) for code in QUOTA_CODES],
    ("openai", 429, openai(None, "insufficient_quota"), Kind.QUOTA),
    ("openai", 429, openai("rate_limit_exceeded", "tokens"), Kind.RATE_LIMITED),
    ("openai", 429, openai("slow_down", "rate_limit_error"), Kind.RATE_LIMITED),
    ("openai", 401, openai("invalid_api_key"), Kind.AUTH),
    ("openai", 401, openai(None), Kind.AUTH),
    ("openai", 403, openai("unsupported_country_region_territory"), Kind.AUTH),
    ("openai", 404, openai("model_not_found"), Kind.NOT_FOUND),
    ("openai", 400, openai("invalid_value"), Kind.BAD_REQUEST),
    ("openai", 408, None, Kind.TIMEOUT),
    ("openai", 409, None, Kind.OVERLOADED),
    ("openai", 422, None, Kind.BAD_REQUEST),
    ("openai", 500, openai(None, "server_error"), Kind.OVERLOADED),
    ("openai", 502, "<html>Bad gateway</html>", Kind.OVERLOADED),
    ("openai", 504, None, Kind.OVERLOADED),
    ("openai", 520, None, Kind.OVERLOADED),
    ("openai", 524, None, Kind.OVERLOADED),
    ("openai", 503, openai("server_is_overloaded", "service_unavailable_error"), Kind.OVERLOADED),
    ("openai", 200, "<html></html>", Kind.PROTOCOL),
    ("openai", 302, None, Kind.PROTOCOL),
    ("deepgram", 400, {"err_code": "INVALID_QUERY_PARAMETER"}, Kind.BAD_REQUEST),
    ("deepgram", 401, {"err_code": "INVALID_AUTH"}, Kind.AUTH),
    ("deepgram", 403, {"err_code": "INSUFFICIENT_PERMISSIONS"}, Kind.AUTH),
    ("deepgram", 402, {"err_code": "ASR_PAYMENT_REQUIRED"}, Kind.QUOTA),
    ("deepgram", 404, {"err_code": "PROJECT_NOT_FOUND"}, Kind.NOT_FOUND),
    ("deepgram", 429, {"err_code": "TOO_MANY_REQUESTS"}, Kind.RATE_LIMITED),
    ("deepgram", 503, "Service Unavailable", Kind.OVERLOADED),
    ("cartesia", 402, {"error_code": "quota_exceeded"}, Kind.QUOTA),
    ("cartesia", 404, {"error_code": "voice_not_found"}, Kind.NOT_FOUND),
    ("cartesia", 400, {"error_code": "model_not_found"}, Kind.NOT_FOUND),
    ("cartesia", 400, {"error_code": None}, Kind.BAD_REQUEST),
    ("cartesia", 429, {"error_code": "concurrency_limited"}, Kind.RATE_LIMITED),
    ("elevenlabs", 401, eleven("quota_exceeded"), Kind.QUOTA),
    ("elevenlabs", 401, {"detail": {"code": "quota_exceeded"}}, Kind.QUOTA),
    ("elevenlabs", 401, eleven("invalid_api_key"), Kind.AUTH),
    ("elevenlabs", 401, eleven("detected_unusual_activity"), Kind.AUTH),
    ("elevenlabs", 403, eleven("only_for_creator+"), Kind.AUTH),
    ("elevenlabs", 400, eleven("voice_not_found"), Kind.NOT_FOUND),
    ("elevenlabs", 400, eleven("invalid_parameters"), Kind.BAD_REQUEST),
    ("elevenlabs", 422, {"detail": [{"loc": ["body"], "msg": "..."}]}, Kind.BAD_REQUEST),
    ("elevenlabs", 429, eleven("too_many_concurrent_requests"), Kind.RATE_LIMITED),
    ("elevenlabs", 429, eleven("rate_limit_exceeded"), Kind.RATE_LIMITED),
    ("elevenlabs", 429, eleven("system_busy"), Kind.OVERLOADED),
    ("elevenlabs", 405, None, Kind.BAD_REQUEST),
    ("elevenlabs", 410, None, Kind.NOT_FOUND),
    ("elevenlabs", 411, None, Kind.BAD_REQUEST),
    ("elevenlabs", 414, None, Kind.BAD_REQUEST),
    ("elevenlabs", 415, None, Kind.BAD_REQUEST),
    ("elevenlabs", 425, None, Kind.OVERLOADED),
    ("twilio", 401, {"code": 20003}, Kind.AUTH),
    ("twilio", 429, {"code": 20429}, Kind.RATE_LIMITED),
    ("twilio", 400, {"code": 10004}, Kind.RATE_LIMITED),
    ("twilio", 400, {"code": 21211}, Kind.BAD_REQUEST),
    ("twilio", 400, {"code": 21214}, Kind.BAD_REQUEST),
    ("twilio", 400, {"code": 21217}, Kind.BAD_REQUEST),
    ("twilio", 403, {"code": 21215}, Kind.BAD_REQUEST),
    ("twilio", 403, {"code": 21216}, Kind.BAD_REQUEST),
    ("twilio", 503, {}, Kind.OVERLOADED),
    ("exotel", 403, {"message": "Authentication failed"}, Kind.AUTH),
]


@pytest.mark.parametrize(("provider", "status", "body", "kind"), HTTP_ROWS)
def test_an_http_answer_has_the_kind_that_the_provider_documents(
    provider: str, status: int, body: object, kind: Kind
) -> None:
    found = classify_http(provider, status, body)

    assert found.kind is kind
    assert found.permanent is VERDICTS[kind].permanent
    assert not found.unknown


NOT_TO_BE_HAD_ROWS = [
    *[("openai", status, openai("model_not_found")) for status in (400, 401, 403, 404, 429, 503)],
    ("cartesia", 403, {"error_code": "model_not_found"}),
    ("cartesia", 403, {"error_code": "voice_not_found"}),
    ("elevenlabs", 403, eleven("voice_not_found")),
    ("elevenlabs", 401, eleven("voice_id_does_not_exist")),
]


@pytest.mark.parametrize(("provider", "status", "body"), NOT_TO_BE_HAD_ROWS)
def test_an_unavailable_model_or_voice_does_not_count_against_the_key(
    provider: str, status: int, body: object
) -> None:
    found = classify_http(provider, status, body)

    assert (found.kind, found.scope) == (Kind.NOT_FOUND, Scope.CONFIGURATION)


@pytest.mark.parametrize("body", [None, "Forbidden", openai(None), openai("permission_denied")])
def test_any_other_403_of_a_model_may_be_due_to_the_key_or_the_calls_content(
    body: object,
) -> None:
    found = classify_http("openai", 403, body)

    assert (found.kind, found.scope) == (Kind.AUTH, Scope.REQUEST)


@pytest.mark.parametrize("provider", ["deepgram", "cartesia", "elevenlabs"])
def test_a_403_before_any_content_is_due_to_the_key(provider: str) -> None:
    found = classify_http(provider, 403, "Forbidden")

    assert (found.kind, found.scope) == (Kind.AUTH, Scope.CREDENTIAL)


@pytest.mark.parametrize("provider", ["deepgram", "cartesia", "elevenlabs", "openai"])
def test_a_403_inside_an_accepted_stream_may_be_due_to_the_content(provider: str) -> None:
    found = classify_message(provider, {"type": "error", "status_code": 403}, moment=ASKED)

    assert (found.kind, found.scope) == (Kind.AUTH, Scope.REQUEST)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"message": "Input was flagged by moderation", "code": 403}),
        (403, {"error": {"message": "Your input was flagged", "metadata": {"reasons": ["x"]}}}),
        (403, "Blocked by our content policy"),
        (403, openai("content_policy_violation") | {"message": "safety system"}),
        (400, openai("tool_use_failed")),
        (400, openai("string_above_max_length")),
        (400, {"message": "messages with role 'tool' must follow 'tool_calls'"}),
        (400, openai("a_code_that_no_list_has")),
        (422, "Unprocessable Entity"),
    ],
)
def test_a_refusal_of_a_calls_content_is_due_to_the_request(status: int, body: object) -> None:
    found = classify_http("openai", status, body)

    assert (found.kind, found.scope) == (Kind.BAD_REQUEST, Scope.REQUEST)


PAYLOAD_ROWS = [
    ("openai", 400, openai("context_length_exceeded")),
    ("openai", 400, openai("content_policy_violation")),
    ("openai", 400, openai("invalid_prompt")),
    ("openai", 413, None),
    (
        "openai",
        429,
        openai("rate_limit_exceeded", "tokens", "Request too large for gpt-4.1"),
    ),
    ("openai", 429, {"message": "Request too large for gpt-4.1"}),
    ("openai", 429, "Request too large for gpt-4.1"),
    ("deepgram", 400, {"err_msg": "Bad Request: failed to process audio: corrupt data"}),
    ("elevenlabs", 400, eleven("max_character_limit_exceeded")),
    ("twilio", 400, {"code": 21211}),
    ("twilio", 403, {"code": 21215}),
    ("twilio", 403, {"code": 21216}),
    ("exotel", 403, {"message": "Call cannot be made because of TRAI NDNC regulations"}),
]


@pytest.mark.parametrize(("provider", "status", "body"), PAYLOAD_ROWS)
def test_some_bad_requests_concern_only_the_payload(
    provider: str, status: int, body: object
) -> None:
    found = classify_http(provider, status, body)

    assert (found.kind, found.scope) == (Kind.BAD_REQUEST, Scope.PAYLOAD)


@pytest.mark.parametrize("status", [418, 423, 451, 499])
def test_an_unlisted_status_is_transient_and_reported_as_unknown(status: int) -> None:
    found = classify_http("openai", status, None)

    assert found.unknown
    assert not found.permanent


def test_an_unlisted_server_error_is_an_overload_and_reported_as_unknown() -> None:
    found = classify_http("openai", 507, None)

    assert (found.kind, found.unknown, found.permanent) == (Kind.OVERLOADED, True, False)


def test_hanging_up_an_ended_call_is_no_failure() -> None:
    assert classify_http("twilio", 404, {"code": 20404}).harmless


MESSAGE_ROWS = [
    ("openai", openai(None, "server_error"), ASKED, Kind.OVERLOADED),
    ("openai", openai(None, "server_error"), FLOWING, Kind.CUT),
    ("openai", openai("rate_limit_exceeded", "tokens"), ASKED, Kind.RATE_LIMITED),
    ("openai", openai("insufficient_quota", "insufficient_quota"), ASKED, Kind.QUOTA),
    ("cartesia", {"type": "error", "status_code": 429}, FLOWING, Kind.RATE_LIMITED),
    ("cartesia", {"type": "error", "status_code": 402}, ASKED, Kind.QUOTA),
    ("cartesia", {"type": "error", "status_code": 401}, ASKED, Kind.AUTH),
    ("cartesia", {"type": "error", "status_code": 500, "context_id": None}, ASKED, Kind.OVERLOADED),
    (
        "cartesia",
        {"type": "error", "status_code": 400, "error": "?"},
        ASKED,
        Kind.BAD_REQUEST,
    ),
    ("elevenlabs", {"error": "quota_exceeded", "code": 1008}, FLOWING, Kind.QUOTA),
    ("elevenlabs", {"error": "invalid_api_key", "code": 1008}, ASKED, Kind.AUTH),
    ("elevenlabs", {"error": "missing_permissions", "code": 1008}, ASKED, Kind.AUTH),
    ("elevenlabs", {"error": "detected_unusual_activity"}, ASKED, Kind.AUTH),
    ("elevenlabs", {"error": "system_busy", "code": 1008}, ASKED, Kind.OVERLOADED),
    ("elevenlabs", {"error": "too_many_concurrent_requests"}, ASKED, Kind.RATE_LIMITED),
    ("elevenlabs", {"error": "max_active_conversations"}, ASKED, Kind.PROTOCOL),
    ("elevenlabs", {"error": "voice_id_does_not_exist"}, ASKED, Kind.NOT_FOUND),
    ("elevenlabs", {"error": "input_timeout_exceeded"}, ASKED, Kind.PROTOCOL),
    ("elevenlabs", {"status_code": 400, "error": "quota_exceeded"}, ASKED, Kind.QUOTA),
    *[
        (provider, {"error": "?", name: status}, moment, Kind.RATE_LIMITED)
        for provider in ("openai", "cartesia", "elevenlabs")
        for name in ("status_code", "status", "code", "error_code")
        for status in (429, "429")
        for moment in (ASKED, FLOWING)
    ],
    ("openai", {"code": 429, "type": "insufficient_quota"}, FLOWING, Kind.QUOTA),
    ("openai", {"code": 503, "message": "?"}, FLOWING, Kind.OVERLOADED),
    ("openai", {"code": 418, "type": "server_error"}, ASKED, Kind.OVERLOADED),
    ("elevenlabs", {"error": "system_busy", "code": 429}, ASKED, Kind.OVERLOADED),
    ("deepgram", {"type": "Error", "variant": "SchemaError"}, FLOWING, Kind.PROTOCOL),
    ("deepgram", {"type": "ConfigureFailure", "code": "X"}, FLOWING, Kind.PROTOCOL),
]


@pytest.mark.parametrize(("provider", "message", "moment", "kind"), MESSAGE_ROWS)
def test_an_error_inside_a_stream_has_the_kind_that_the_provider_documents(
    provider: str, message: object, moment: Moment, kind: Kind
) -> None:
    found = classify_message(provider, message, moment=moment)

    assert found.kind is kind
    assert not found.unknown


def test_deepgrams_complaint_about_one_message_does_not_end_the_stream() -> None:
    assert classify_message("deepgram", {"type": "Error"}, moment=FLOWING).goes_on


def test_an_idle_context_that_elevenlabs_closes_is_normal() -> None:
    message = {"error": "input_timeout_exceeded", "code": 1008}

    assert classify_message("elevenlabs", message, moment=IDLE).harmless


@pytest.mark.parametrize(
    "message",
    [
        "{}",
        None,
        [],
        {"error": "new_and_strange"},
        {"status_code": "many"},
        {"code": 200},
        {"code": 4290},
        {"code": "٤٢٩"},
    ],
)
def test_an_unlisted_message_is_reported_as_unknown(message: object) -> None:
    assert classify_message("elevenlabs", message, moment=ASKED).unknown


UNFED = "Deepgram did not receive audio data or a text message within the timeout window."
CLOSE_ROWS = [
    ("deepgram", 1011, "NET-0000", FLOWING, Kind.OVERLOADED),
    ("deepgram", 1011, "NET-0001", IDLE, Kind.NETWORK),
    ("deepgram", 1011, "NET-0001", FLOWING, Kind.NETWORK),
    ("deepgram", 1011, f"{UNFED} See https://dpgr.am/net0001", IDLE, Kind.NETWORK),
    ("deepgram", 1011, f"{UNFED} See https://dpgr.am/net0001", FLOWING, Kind.NETWORK),
    ("deepgram", 1011, "https://dpgr.am/net-0001", FLOWING, Kind.NETWORK),
    ("deepgram", 1011, "net_0001", FLOWING, Kind.NETWORK),
    ("deepgram", 1011, UNFED, FLOWING, Kind.NETWORK),
    ("deepgram", 1011, "See https://dpgr.am/net0000", FLOWING, Kind.OVERLOADED),
    ("deepgram", 1008, "See https://dpgr.am/data0000", FLOWING, Kind.PROTOCOL),
    ("deepgram", 1008, "DATA-0000: not audio", FLOWING, Kind.PROTOCOL),
    ("deepgram", 1000, "", IDLE, Kind.CUT),
    ("a new recogniser", 1000, "", IDLE, Kind.CUT),
    ("a new recogniser", 1001, "", ASKED, Kind.CUT),
    ("deepgram", 1006, "", ASKED, Kind.NETWORK),
    ("deepgram", 1006, "", FLOWING, Kind.CUT),
    ("cartesia", 1000, "", FLOWING, Kind.CUT),
    ("cartesia", 1000, "", ASKED, Kind.NETWORK),
    ("cartesia", 1011, "", FLOWING, Kind.CUT),
    ("cartesia", 1011, "", ASKED, Kind.NETWORK),
    ("cartesia", 1006, "", FLOWING, Kind.CUT),
    ("cartesia", 1006, "", ASKED, Kind.NETWORK),
    ("elevenlabs", 1008, "This request exceeds your quota of 10000.", ASKED, Kind.QUOTA),
    ("elevenlabs", 1008, '{"error": "invalid_api_key"', ASKED, Kind.AUTH),
    ("elevenlabs", 1008, "Maximum simultaneous contexts per WebSocket", ASKED, Kind.PROTOCOL),
    ("elevenlabs", 1008, '{"status":"quota_exceeded"}', ASKED, Kind.QUOTA),
    ("elevenlabs", 1008, "Sorry (quota_exceeded).", ASKED, Kind.QUOTA),
    ("elevenlabs", 1008, "The system is busy", ASKED, Kind.OVERLOADED),
    ("elevenlabs", 1008, "We have not received a new text input", FLOWING, Kind.CUT),
    ("elevenlabs", 1008, "something new", ASKED, Kind.PROTOCOL),
    ("cartesia", 1008, "invalid_api_key", ASKED, Kind.PROTOCOL),  # the reason precedes the close
    ("elevenlabs", 1011, "", ASKED, Kind.OVERLOADED),
    ("elevenlabs", 1006, "", ASKED, Kind.NETWORK),
    ("elevenlabs", 1003, "", ASKED, Kind.PROTOCOL),
    ("elevenlabs", 1013, "", ASKED, Kind.OVERLOADED),
]


@pytest.mark.parametrize(("provider", "code", "reason", "moment", "kind"), CLOSE_ROWS)
def test_a_close_has_the_kind_of_its_code_reason_and_moment(
    provider: str, code: int, reason: str, moment: Moment, kind: Kind
) -> None:
    stage = "tts" if provider in ("cartesia", "elevenlabs") else "stt"
    found = classify_close(provider, code, reason, stage=stage, moment=moment)

    assert found.kind is kind
    assert not found.harmless


@pytest.mark.parametrize("reason", ["DATA-0000", "See https://dpgr.am/data0000"])
def test_deepgrams_data_error_concerns_only_this_encoding(reason: str) -> None:
    found = classify_close("deepgram", 1008, reason, stage="stt", moment=FLOWING)

    assert (found.scope, found.permanent) == (Scope.CONFIGURATION, True)


@pytest.mark.parametrize("provider", ["cartesia", "elevenlabs"])
def test_an_idle_voice_that_is_closed_politely_is_no_failure(provider: str) -> None:
    assert classify_close(provider, 1000, stage="tts", moment=IDLE).harmless


@pytest.mark.parametrize("code", [4000, 4999, 1016])
def test_an_unlisted_close_code_is_reported_as_unknown(code: int) -> None:
    assert classify_close("cartesia", code, stage="tts", moment=ASKED).unknown


SYMPTOM_ROWS = [
    (Symptom.NO_ANSWER, Kind.TIMEOUT),
    (Symptom.FIRST_LATE, Kind.TIMEOUT),
    (Symptom.GAP, Kind.STALLED),
    (Symptom.END_UNFINISHED, Kind.CUT),
    (Symptom.NO_RESULTS, Kind.SILENT),
    (Symptom.FINALIZE_UNANSWERED, Kind.SILENT),
    (Symptom.NO_AUDIO, Kind.SILENT),
    (Symptom.SHORT_AUDIO, Kind.SILENT),
    (Symptom.ZERO_AUDIO, Kind.SILENT),
    (Symptom.NO_TEXT, Kind.SILENT),
    (Symptom.GARBAGE, Kind.PROTOCOL),
    (Symptom.ODD_AUDIO, Kind.PROTOCOL),
]


@pytest.mark.parametrize(("symptom", "kind"), SYMPTOM_ROWS)
def test_a_symptom_observed_by_us_has_a_kind(symptom: Symptom, kind: Kind) -> None:
    assert classify_symptom(symptom).kind is kind
    assert not classify_symptom(symptom).permanent


def test_every_symptom_is_in_the_table() -> None:
    assert set(SYMPTOMS) == set(Symptom)


class APITimeoutError(Exception):  # the client library's name is all that counts
    pass


ERROR_ROWS = [
    (TimeoutError(), Kind.TIMEOUT),
    (ConnectionRefusedError(), Kind.NETWORK),
    (ConnectionResetError(), Kind.NETWORK),
    (EOFError(), Kind.NETWORK),
    (APITimeoutError(), Kind.TIMEOUT),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), Kind.PROTOCOL),
]


@pytest.mark.parametrize(("error", "kind"), ERROR_ROWS, ids=repr)
def test_an_exception_without_a_status_is_classified_by_its_class(
    error: Exception, kind: Kind
) -> None:
    assert classify_error(error).kind is kind


def test_an_exception_is_classified_by_its_cause() -> None:
    error = RuntimeError("the library's own")
    error.__cause__ = ConnectionResetError()

    assert classify_error(error).kind is Kind.NETWORK


def test_an_unknown_exception_is_reported_as_unknown() -> None:
    assert classify_error(RuntimeError("?")).unknown
