"""A simulated OpenAI: chat completions, streamed and unstreamed, speech, and the list of models.

Source of shapes and order: openai/openai-openapi (CreateChatCompletionStreamResponse,
CompletionUsage) and what openai-python accepts.
"""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Core, Instance, no_credit_response
from lab.simulators.openai import errors as openai_errors
from lab.simulators.openai import request as openai_request
from lab.simulators.openai import speech
from lab.simulators.openai.request import ChatRequest, OpenAIBadRequest, PromptCache
from lab.simulators.openai.stream import AnswerStream, Completion, rate_factor
from lab.simulators.pace import Tempo
from lab.simulators.receptionist import receptionist
from lab.simulators.receptionist.notes import text_of
from lab.simulators.receptionist.receptionist import CONTINUATIONS, Reply
from lab.simulators.server import abort
from lab.simulators.voices.voices import voice_of

_WHO: Final = ("Anna", "Boris", "Clara", "David", "Emma", "Frank", "Grace", "Henry")
_WHAT: Final = ("cuts", "washes", "dries", "dyes", "combs", "curls", "braids", "trims")
_WHEN: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def with_additions(reply: Reply, fault: Fault | None) -> Reply:
    """Return a reply with what a fault adds to its text; one without text is unchanged."""
    match fault:
        case faults.Adds(text=text) if reply.text:
            return replace(reply, text=reply.text + text)
        case faults.Endless() if reply.text:
            return replace(reply, text=" ".join((reply.text, *_endless_sentences(fault))))
        case _:
            return reply


def _endless_sentences(fault: faults.Endless) -> Iterator[str]:
    """Yield sentences with at least the fault's number of words: all equal, or all different."""
    written = 0
    for who, when, what in itertools.cycle(itertools.product(_WHO, _WHEN, _WHAT)):
        if written >= fault.words:
            return
        name, day = (_WHO[0], _WHEN[0]) if fault.same else (who, when)
        sentence = f"On {day} {name} {_WHAT[0] if fault.same else what} hair all day long."
        written += len(sentence.split())
        yield sentence


MINUTE_S: Final = 60.0


class RequestRate:
    """An account's request limit: a bucket that is refilled continuously, and its headers.

    Source: platform.openai.com/docs/guides/rate-limits (the headers, and that a limit is enforced
    continuously); community.openai.com t/1268905 (a sample: 5000 a minute, 4999 left, full in
    12 ms).
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._used = 0.0
        self._refilled_at = clock()

    def take(self) -> bool:
        """Take a request if one is available; return whether there was one."""
        self._refill_by_time()
        if self._used + 1 > self._per_minute:
            return False
        self._used += 1
        return True

    @property
    def next_in_s(self) -> float:
        """The seconds until the next request is available."""
        self._refill_by_time()
        return max(0.0, self._used + 1 - self._per_minute) * MINUTE_S / self._per_minute

    def headers(self) -> dict[str, str]:
        """Return the limit's headers for each answer."""
        self._refill_by_time()
        full_in_ms = round(1000 * self._used * MINUTE_S / self._per_minute)
        return {
            "x-ratelimit-limit-requests": str(self._per_minute),
            "x-ratelimit-remaining-requests": str(int(self._per_minute - self._used)),
            "x-ratelimit-reset-requests": _as_in_go(full_in_ms),
        }

    def _refill_by_time(self) -> None:
        """Free the requests that the time since the last refill has earned."""
        now = self._clock()
        filled = (now - self._refilled_at) * self._per_minute / MINUTE_S
        self._used, self._refilled_at = max(0.0, self._used - filled), now


def _as_in_go(duration_ms: int) -> str:
    """Return a duration as Go writes it: `12ms`, `1.2s`, `6m0s`."""
    if duration_ms < 1000:
        return f"{duration_ms}ms"
    minutes, seconds = divmod(duration_ms / 1000, 60.0)
    return f"{minutes:.0f}m{seconds:g}s" if minutes else f"{seconds:g}s"


MODELS: Final = ("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "gpt-5-mini")
ROLE_SHARE: Final = 0.85  # of the first delay passes before the role chunk (chosen)


class OpenAISimulator(Instance):
    """One simulated OpenAI account."""

    kind: ClassVar[str] = "openai"
    all_models: ClassVar[Iterable[str]] = MODELS
    base_path: ClassVar[str] = "/v1"
    no_credit = (429, "insufficient_quota")
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.35,
        spread=0.2,  # p95 is then 0.49 s
        rate=60.0,
        source="chosen: a small model's usual first token and tokens a second; not a measurement",
    )

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        core: Core | None = None,
        continuation: str = "clean",
        models: Iterable[str] = (),
        per_minute: int = 5000,
    ) -> None:
        """Create an account.

        Args:
            name: Unique in the lab.
            api_key: The accepted key; `None` for a random one.
            core: Shared by the lab's instances.
            continuation: One of `CONTINUATIONS`.
            models: The existing models; by default those of the vendor.
            per_minute: The account's request limit, in real time whatever the lab's speed.

        Raises:
            ValueError: No such continuation.
        """
        if continuation not in CONTINUATIONS:
            known = ", ".join(CONTINUATIONS)
            raise ValueError(f"{name}: continuation is {continuation!r}; it takes {known}")
        super().__init__(name, api_key=api_key, core=core)
        self._continuation = continuation
        self.models = tuple(models or self.all_models)
        self._rate = RequestRate(per_minute, clock=self.gate.now_s)
        self._open_requests = 0
        self._voice = voice_of(name, word_by_word=core is not None and core.word_by_word)
        self._prompts = PromptCache()

    @property
    def url(self) -> str:
        """The base; OpenAI's has `/v1`, others have no version."""
        return f"{self.server.base_url('http')}{self.base_path}"

    def routes(self) -> list[web.RouteDef]:
        """Return the routes: chat completions, speech and models."""
        return [
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/audio/speech", self._serve_speech),
            web.get("/v1/models", self._list_models),
            web.get("/v1/models/{model}", self._get_model),
        ]

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return OpenAI's answer for an error: JSON, or HTML from the proxy in front of it."""
        headers = self._response_headers()
        if retry_after_s is not None:
            headers["retry-after"] = f"{retry_after_s:g}"
        if status in openai_errors.EDGE:
            page = openai_errors.page(status)
            return web.Response(text=page, status=status, headers=headers, content_type="text/html")
        return web.json_response(openai_errors.body(status, code), status=status, headers=headers)

    def request_details(self, request: web.Request) -> dict[str, Any]:
        """Return the client's user agent, and the number of retries that it reports."""
        return {
            "retries": int(request.headers.get("x-stainless-retry-count", "0")),
            "user_agent": request.headers.get("user-agent", ""),
        }

    # -- models

    async def _list_models(self, request: web.Request) -> web.Response:
        await self.admit(request)
        models = {"object": "list", "data": [_model_entry(name) for name in self.models]}
        return web.json_response(models, headers=self._response_headers())

    async def _get_model(self, request: web.Request) -> web.Response:
        """Describe a model; 404 if the simulator does not have it."""
        await self.admit(request)
        name = request.match_info["model"]
        if name not in self.models:
            return self.error_response(404)
        return web.json_response(_model_entry(name), headers=self._response_headers())

    async def _serve_speech(self, request: web.Request) -> web.StreamResponse:
        await self.admit(request)
        return await speech.answer(self, request, voice=self._voice)

    # -- chat completions

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a completion, and record how many were open with it."""
        admission = await self.admit(request)
        self._open_requests += 1
        admission.request.details["at_once"] = self._open_requests
        try:
            return await self._answer_chat(request, admission)
        finally:
            self._open_requests -= 1

    async def _answer_chat(self, request: web.Request, admission: Admission) -> web.StreamResponse:
        """Answer a request, unless it exceeds the rate limit or is invalid."""
        if not self._rate.take():
            return self.error_response(429, retry_after_s=self._rate.next_in_s)
        try:
            chat = self.read(await _read_json(request), request)
        except OpenAIBadRequest as bad:
            admission.mark_malformed(str(bad))
            return web.json_response(bad.body, status=bad.status, headers=self._response_headers())
        reply = receptionist.reply(chat.messages, chat.tools, continuation=self._continuation)
        reply = with_additions(reply, admission.fault)
        _record_details(admission, chat=chat, reply=reply)
        completion = Completion(chat=chat, reply=reply, cached_tokens=self._prompts.add(chat))
        if isinstance(admission.fault, faults.SlowStart):
            await asyncio.sleep(admission.fault.delay_s)
        answer = self._send_stream if chat.stream else self._send_unstreamed
        return await answer(request, admission=admission, completion=completion)

    def read(self, body: object, request: web.Request) -> ChatRequest:
        """Parse a request.

        Raises:
            OpenAIBadRequest: The real service refuses it.
        """
        del request
        return openai_request.read(body, models=self.models)

    stream: ClassVar[type[AnswerStream]] = AnswerStream

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the body of an unstreamed answer."""
        return completion.whole()

    async def _send_unstreamed(
        self, request: web.Request, *, admission: Admission, completion: Completion
    ) -> web.StreamResponse:
        """Send an answer as one body, once generating it would have ended."""
        await self.pace.wait_first()
        for _ in completion.pieces:  # generating the answer takes this long
            fault = admission.fault_now()
            await self.pace.wait_gap(factor=rate_factor(fault))
        match fault := admission.fault_now():
            case faults.ErrorEvent(status=status, code=code):
                return self.error_response(status, code=code)
            case faults.Quota(code=code):
                return no_credit_response(self, code)
            case faults.Silent() | faults.Alive() | faults.Stall():
                await admission.while_fault(type(fault))
            case faults.Garbage():
                return web.Response(text='{"id": "chatcmpl-', content_type="application/json")
            case faults.Cut():
                return await _cut_half_way(
                    request, self.whole(completion), headers=self._response_headers()
                )
        admission.request.details["sent"] = completion.reply.text
        return web.json_response(self.whole(completion), headers=self._response_headers())

    async def _send_stream(
        self, request: web.Request, *, admission: Admission, completion: Completion
    ) -> web.StreamResponse:
        """Send an answer as events; the role comes before the end of the first delay."""
        first_s = self.pace.ttfb_s()
        await asyncio.sleep(first_s * ROLE_SHARE)
        response = web.StreamResponse(headers=self._response_headers())
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        response.enable_chunked_encoding()
        await response.prepare(request)
        stream = self.stream(self, request, response=response, admission=admission)
        await stream.send_all(completion, first_s=first_s * (1 - ROLE_SHARE))
        return response

    def _response_headers(self) -> dict[str, str]:
        """Return a response's headers: a random request id, and fixed limits for tokens."""
        return {
            "x-request-id": f"req_{self.random.getrandbits(128):032x}",
            "openai-processing-ms": str(round(self.tempo.ttfb_s * 1000 / self.speed)),
            "openai-organization": "org-lab",
            "openai-version": "2020-10-01",
            **self._rate.headers(),
            "x-ratelimit-limit-tokens": "160000",
            "x-ratelimit-remaining-tokens": "159976",
            "x-ratelimit-reset-tokens": "9ms",
        }


async def _cut_half_way(
    request: web.Request, answer: Mapping[str, Any], *, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send half of an unstreamed answer, and break the connection."""
    body = json.dumps(answer).encode()
    response = web.StreamResponse(headers=headers)
    response.content_type = "application/json"
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    request[ADMISSION].close("cut")
    abort(request.transport)
    return response


def _model_entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1744316542, "owned_by": "system"}


def _record_details(admission: Admission, *, chat: ChatRequest, reply: Reply) -> None:
    """Record the request and the reply, also for judging what a model was asked."""
    admission.request.details |= {
        "model": chat.model,
        "stream": chat.stream,
        "messages": len(chat.messages),
        "tools": len(chat.tools),
        "asked": _last_words(chat),
        "caller": [text_of(said) for said in chat.messages if said.get("role") == "user"],
        "answer": reply.text,
        "calls": [call.name for call in reply.calls],
    }


def _last_words(chat: ChatRequest) -> str:
    """Return the caller's last words in a request."""
    from_caller = (message for message in reversed(chat.messages) if message.get("role") == "user")
    return text_of(next(from_caller, {}))


async def _read_json(request: web.Request) -> object:
    """Return the JSON body; `None`, which is refused later, if it is invalid."""
    try:
        return await request.json()
    except ValueError:
        return None
