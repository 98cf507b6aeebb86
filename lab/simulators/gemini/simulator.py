"""A simulated Gemini: `generateContent` and `streamGenerateContent` of the developer API.

Source of shapes: ai.google.dev/api/generate-content (Content, Part, Candidate, UsageMetadata,
FinishReason), ai.google.dev/gemini-api/docs/troubleshooting for the errors, and what google-genai
sends and reads.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators.openai.request import ChatRequest, OpenAIBadRequest
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.openai.stream import AnswerStream, Completion, sse
from lab.simulators.pace import Tempo

MODELS: Final = ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3.6-flash")
ENDS: Final = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
STREAM: Final = "streamGenerateContent"
SIGNATURE: Final = "bGFiLXNpZ25hdHVyZQ=="  # of a thought, in base64
NO_CREDIT: Final = "credits"
STATUSES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MESSAGES: Final[Mapping[int | str, str]] = {
    403: "Your API key doesn't have the required permissions.",
    404: "models/no-such-model is not found for API version v1beta.",
    429: "You exceeded your current quota, please check your plan and billing details.",
    500: "An internal error has occurred. Please retry.",
    503: "This model is currently experiencing high demand. Please try again later.",
    NO_CREDIT: "Your prepayment credits are depleted.",
}
WRONG_KEY: Final = "API key not valid. Please pass a valid API key."


def error_body(status: int, code: str | None = None, *, message: str = "") -> dict[str, Any]:
    """Return the JSON body of an error; a wrong key is refused with 400."""
    if status == 401:
        reason = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
        status, message, details = 400, WRONG_KEY, [reason]
    else:
        details = []
    text = message or MESSAGES.get(code or status) or MESSAGES.get(status, "Invalid argument.")
    name = STATUSES.get(status, "UNKNOWN")
    return {"error": {"code": status, "message": text, "status": name, "details": details}}


def _invalid_request_error(message: str) -> OpenAIBadRequest:
    """Return the exception to raise for a request that Gemini answers with 400."""
    return OpenAIBadRequest(400, error_body(400, message=message))


def _messages_in_openai_format(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the conversation in OpenAI's format.

    Raises:
        OpenAIBadRequest: A role or a part that Gemini refuses, or results that answer no call.
    """
    system = body.get("systemInstruction") or {}
    if texts := [part["text"] for part in system.get("parts", ())]:
        yield {"role": "system", "content": " ".join(texts)}
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise _invalid_request_error("contents is not specified")
    pending: list[str] = []
    for content in contents:
        role = content.get("role")
        if role not in ("user", "model"):
            raise _invalid_request_error("Please use a valid role: user, model.")
        parts = content.get("parts")
        if not parts:
            raise _invalid_request_error("contents.parts must not be empty.")
        yield from _of_parts(role, parts, pending)
    if pending:
        raise _invalid_request_error(
            "Please ensure that each function call is followed by its response."
        )


def _of_parts(
    role: str, parts: Sequence[Mapping[str, Any]], pending: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield a content's parts in OpenAI's format; its function calls come last, as one message.

    `pending` has the ids of calls without a response, and is updated.
    """
    calls: list[Mapping[str, Any]] = []
    for part in parts:
        match part:
            case {"text": str(text)}:
                yield {"role": "assistant" if role == "model" else "user", "content": text}
            case {"functionCall": {"name": name} as call}:
                if "thoughtSignature" not in part and not calls:
                    raise _invalid_request_error(
                        f"Function call is missing a thought_signature: {name}"
                    )
                call_id = call.get("id") or f"call-{name}"
                pending.append(call_id)
                function = {"name": name, "arguments": json.dumps(call.get("args") or {})}
                calls.append({"id": call_id, "type": "function", "function": function})
            case {"functionResponse": {"response": response} as result} if pending:
                call_id = result.get("id") or pending[0]
                if call_id not in pending:
                    raise _invalid_request_error("A function response answers no function call.")
                pending.remove(call_id)
                text = json.dumps(response)
                yield {"role": "tool", "tool_call_id": call_id, "content": text}
            case _:
                raise _invalid_request_error("Unable to read a part.")
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _function_call_parts(calls: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the parts of function calls; the first has the signature of the thought."""
    for at, call in enumerate(calls):
        function = call["function"]
        given = json.loads(function["arguments"])
        part = {"functionCall": {"id": call["id"], "name": function["name"], "args": given}}
        yield part | ({} if at else {"thoughtSignature": SIGNATURE})


def _response_body(
    completion: Completion, parts: Sequence[Mapping[str, Any]], *, finish: str = ""
) -> dict[str, Any]:
    """Return a response with one candidate and the usage so far; `finish` is its finish reason."""
    used = completion.usage
    content = {"parts": list(parts), "role": "model"} if parts else {"role": "model"}
    candidate = {"content": content, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": {
            "promptTokenCount": used["prompt_tokens"],
            "candidatesTokenCount": used["completion_tokens"],
            "totalTokenCount": used["total_tokens"],
            "cachedContentTokenCount": used["prompt_tokens_details"]["cached_tokens"],
        },
        "modelVersion": completion.chat.model,
        "responseId": "lab",
    }


class GeminiStream(AnswerStream):
    """Sends one answer as Gemini does: a function call comes in one piece."""

    keep_alive = b""  # its SDK reads comments as JSON
    garbage = b'data: {"candidates":[{"cont\x00\n\n'

    def encode(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the event of a chunk; empty for calls, which all come with the last chunk."""
        choice = chunk["choices"][0]
        delta, finish = choice["delta"], choice["finish_reason"]
        if finish:
            parts = [*_function_call_parts(self.completion.calls)] or [{"text": ""}]
            return sse(_response_body(self.completion, parts, finish=ENDS[finish]))
        if delta.get("tool_calls"):
            return b""
        return sse(_response_body(self.completion, [{"text": delta.get("content") or ""}]))

    def encode_error(self, status: int, code: str | None) -> bytes:
        """Return an error inside the stream."""
        return sse(error_body(status, code))

    def encode_end(self) -> bytes:
        """Return nothing: the end of the body ends the answer."""
        return b""


class GeminiSimulator(OpenAISimulator):
    """One simulated project of the Gemini API."""

    kind: ClassVar[str] = "gemini"
    all_models = MODELS
    base_path = ""
    stream = GeminiStream
    no_credit = (429, NO_CREDIT)
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.4,
        spread=0.2,
        rate=60.0,
        source="chosen: a small model's usual first token and tokens a second; not a measurement",
    )

    def routes(self) -> list[web.RouteDef]:
        """Return the route of a model's methods."""
        return [web.post("/v1beta/models/{model}:{method}", self.chat)]

    def is_authorised(self, request: web.Request) -> bool:
        """Return whether the request carries this project's key."""
        return request.headers.get("x-goog-api-key") == self.api_key

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return Gemini's answer for an error."""
        body = error_body(status, code)
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        return web.json_response(body, status=body["error"]["code"], headers=headers)

    def read(self, body: object, request: web.Request) -> ChatRequest:
        """Parse a request.

        Raises:
            OpenAIBadRequest: The real service refuses it.
        """
        model = request.match_info["model"]
        if model not in self.models:
            raise OpenAIBadRequest(404, error_body(404))
        if not isinstance(body, Mapping):
            raise _invalid_request_error("Invalid JSON payload received.")
        given = body.get("generationConfig") or {}
        declared = [
            item for tool in body.get("tools") or () for item in tool["functionDeclarations"]
        ]
        return ChatRequest(
            model=model,
            messages=list(_messages_in_openai_format(body)),
            tools=[{"type": "function", "function": item} for item in declared],
            stream=request.match_info["method"] == STREAM,
            most_tokens=given.get("maxOutputTokens") or math.inf,
        )

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the body of an unstreamed answer."""
        text = [{"text": completion.reply.text}] if completion.reply.text else []
        parts = [*text, *_function_call_parts(completion.calls)]
        return _response_body(completion, parts, finish=ENDS[completion.finish])
