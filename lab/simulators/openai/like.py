"""A simulated server with OpenAI's protocol, and the oddities of one vendor (`oddities.yaml`)."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from lab.simulators.instance import Core
from lab.simulators.openai import errors as openai_errors
from lab.simulators.openai.request import ChatRequest, OpenAIBadRequest
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.openai.stream import AnswerStream, sse

STRICT_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
REASONING: Final = ("The caller asks ", "for something.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddities:
    """What one vendor does; the table explains the fields."""

    models: Sequence[str]
    no_credit: int
    errors: Mapping[int, Any]
    event: str
    refuses: Sequence[str] = ()
    roles: Sequence[str] = ()
    refusal: Mapping[str, Any] = field(default_factory=dict[str, Any])
    strict: bool = False
    comment: str = ""
    first: Mapping[str, Any] = field(default_factory=dict[str, Any])
    last: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chunk: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasons: bool = False
    whole_calls: bool = False
    ends: Mapping[str, str] = field(default_factory=dict[str, str])
    key_header: str = ""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    path: str = "/v1"
    wrong_key: int = 401
    models_are_public: bool = False


@cache
def oddities() -> Mapping[str, Oddities]:
    """Return the vendors' oddities, by name."""
    table = yaml.safe_load(Path(__file__).with_name("oddities.yaml").read_text("utf-8"))
    return {name: Oddities(**row) for name, row in table.items()}


class OddStream(AnswerStream):
    """Sends one answer as a vendor does."""

    _begun = False

    @property
    def _odd(self) -> Oddities:
        instance: Any = self._instance
        return instance.odd

    def encode(self, chunk: Mapping[str, Any]) -> bytes:
        """Return a chunk, the first one with what precedes it; call it once for each, in order."""
        begun, self._begun = self._begun, True
        return (b"" if begun else self._before_first_chunk()) + self._odd_chunk(chunk)

    def _before_first_chunk(self) -> bytes:
        """Return what comes before the first chunk: a comment, a chunk of its own, reasoning."""
        odd = self._odd
        thought = [
            self.completion.chunk({"content": None, "reasoning_content": text})
            for text in REASONING
            if odd.reasons
        ]
        chunks = [*([odd.first] if odd.first else []), *thought]
        return odd.comment.encode() + b"".join(map(sse, chunks))

    def _odd_chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """Return a chunk with its oddities; with `whole_calls`, all calls are in the last chunk."""
        odd, choices = self._odd, [dict(choice) for choice in chunk["choices"]]
        for choice in choices:
            if odd.whole_calls and choice["delta"].get("tool_calls"):
                return b""
            if choice["finish_reason"]:
                calls = [
                    self._whole_call(call) for call in self.completion.calls if odd.whole_calls
                ]
                choice["delta"] = {"content": "", "tool_calls": calls} if calls else {}
                choice["finish_reason"] = odd.ends.get(
                    choice["finish_reason"], choice["finish_reason"]
                )
        return sse({**chunk, **odd.chunk, "choices": choices})

    def _whole_call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return {**call, "index": 0, "id": _id_of(call) if self._odd.strict else call["id"]}

    def encode_error(self, status: int, code: str | None) -> bytes:
        """Return an error inside the stream."""
        return f"{self._odd.event}\n\n".encode()

    def encode_end(self) -> bytes:
        """Return what follows the last chunk."""
        last = self._odd.last
        return (sse(last) if last else b"") + super().encode_end()


def _id_of(call: Mapping[str, Any]) -> str:
    return hashlib.sha256(call["id"].encode()).hexdigest()[:9]


class OpenAILikeSimulator(OpenAISimulator):
    """One account at a vendor whose server speaks OpenAI's protocol."""

    stream = OddStream

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        core: Core | None = None,
        like: str = "groq",
        **options: Any,
    ) -> None:
        """Create an account; `like` names the vendor in `oddities.yaml`."""
        self.odd = oddities()[like]
        self.no_credit = (self.odd.no_credit, None)  # pyright: ignore[reportAttributeAccessIssue] - of the class in all others
        super().__init__(name, api_key=api_key, core=core, models=self.odd.models, **options)

    @property
    def url(self) -> str:
        """The base, with the query of each request."""
        query = "&".join(f"{name}={value}" for name, value in self.odd.query.items())
        return f"{self.server.base_url('http')}{self.odd.path}" + (f"?{query}" if query else "")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes: chat completions and models."""
        path = self.odd.path
        return [
            web.post(f"{path}/chat/completions", self.chat),
            web.get(f"{path.partition('/deployments')[0]}/models", self._list_models),
            web.get(f"{path}/key", self._list_models),
        ]

    def is_authorised(self, request: web.Request) -> bool:
        """Return whether the request carries the key, and the query that each request has."""
        if self.odd.models_are_public and request.path.endswith("/models"):
            return True
        header = self.odd.key_header
        has_key = (
            request.headers.get(header) == self.api_key and "Authorization" not in request.headers
            if header
            else super().is_authorised(request)
        )
        return has_key and set(self.odd.query) <= set(request.query)

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return the vendor's answer for an error."""
        status = self.odd.wrong_key if status == 401 else status
        body = self.odd.errors.get(status) or openai_errors.body(status, code)
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        return web.json_response(body, status=status, headers=headers)

    def read(self, body: object, request: web.Request) -> ChatRequest:
        """Parse a request.

        Raises:
            OpenAIBadRequest: The vendor refuses it.
        """
        if isinstance(body, Mapping):
            self._refuse_unsupported(body)
        return super().read(body, request)

    def _refuse_unsupported(self, body: Mapping[str, Any]) -> None:
        """Refuse what the vendor refuses: roles and parameters; if it is strict, ids and order."""
        odd, messages = self.odd, body.get("messages") or []
        roles = {message.get("role") for message in messages}
        if wrong := [*(roles - set(odd.roles or roles)), *(set(body) & set(odd.refuses))]:
            said = json.dumps(odd.refusal["body"]).replace("NAME", str(min(wrong)))
            raise _refusal_with_body(odd.refusal["status"], json.loads(said))
        if not odd.strict:
            return
        used = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
        if wrong := [call_id for call_id in used if not STRICT_ID.fullmatch(call_id)]:
            text = f"Tool call id was {wrong[0]} but must be a-z, A-Z, 0-9, with a length of 9."
            raise _refusal_with_body(400, _strict_error(text, "invalid_function_call", "3280"))
        pairs = [(one["role"], two["role"]) for one, two in itertools.pairwise(messages)]
        if ("tool", "user") in pairs:
            text = "Unexpected role 'user' after role 'tool'"
            raise _refusal_with_body(
                400, _strict_error(text, "invalid_request_message_order", "3230")
            )


def _strict_error(message: str, kind: str, code: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def _refusal_with_body(status: int, body: Mapping[str, Any]) -> OpenAIBadRequest:
    """Return the refusal with a body in any form."""
    # The exception takes its message from a body in OpenAI's form.
    error = {"error": {"message": json.dumps(body)}}
    refused = OpenAIBadRequest(status, error)
    refused.body = body
    return refused
