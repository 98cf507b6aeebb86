"""OpenAI, and other servers with its protocol: streaming chat completions."""

import codecs
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import openai
from loguru import logger
from openai import AsyncOpenAI, AsyncStream
from openai._streaming import ServerSentEvent, SSEDecoder
from openai.resources.chat import AsyncChat
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pipecat.adapters.llm.services.open_ai_adapter import OpenAILLMInvocationParams
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.utils.http import connection_limits

from fallbacks.classification import classify_error, classify_http, classify_message
from fallbacks.failure import Failure, Kind, Scope, error_of, failed, finding
from fallbacks.llm_times import HANDSHAKE_S
from fallbacks.retry_after import may_ask_again, retry_after_s
from fallbacks.symptoms import Moment
from providers.catalog import end_reasons, provider
from providers.openai_servers import is_strict, server_at, strict
from providers.probing import ask_http
from providers.provider import PenAnswer, PenQuestion, RungSpec
from providers.sockets import tls_context
from providers.word_probe import ask_for_word
from runtime.hosts import proxy_for
from runtime.http import UnreadableError, parse_json

DONE: Final = "[DONE]"
FINISHED: Final = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
"""The final piece of an answer: `[DONE]` from a server that sent no `finish_reason`."""


class EventStream(SSEDecoder):
    """Decodes one answer: yields its pieces and errors, and skips keep-alives.

    Data that begins like a JSON object belongs to the answer, which fails if it is not valid JSON.

    The SDK's decoder handles fields and line ends. But it returns events without data, which the
    SDK then takes for broken JSON; it keeps a byte order mark, which hides the first event; and it
    does not report `[DONE]`. Source: WHATWG HTML 9.2 (server-sent events).
    """

    def __init__(self, rung_name: str) -> None:
        super().__init__()
        self._rung_name = rung_name
        self._malformed = 0

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        """Yield the events that belong to the answer.

        The number of malformed keep-alives is logged at the end.
        """
        try:
            async for event in super().aiter_bytes(_decode_event_stream(iterator)):
                if event.data.lstrip().startswith(DONE):
                    yield ServerSentEvent(data=FINISHED)
                    yield ServerSentEvent(data=DONE)
                elif read := self._normalised_event(event):
                    yield read
        finally:
            if self._malformed:
                logger.warning(
                    "{}: skipped {} malformed keep-alives in one answer's event stream",
                    self._rung_name,
                    self._malformed,
                )

    def _normalised_event(self, event: ServerSentEvent) -> ServerSentEvent | None:
        """Return an event in a form that the SDK reads; `None` if it is not part of the answer."""
        text = event.data.strip()
        data: object = text
        if text[:1] in ("{", "["):
            try:
                data = parse_json(text)
            except UnreadableError:  # it would break the SDK
                self._malformed += 1
                return None
            except ValueError:
                if text.startswith("{"):
                    return event  # the SDK raises
        if isinstance(data, list):  # Gemini sends errors in a list
            data = next(iter(cast("list[object]", data)), None)
            event = ServerSentEvent(event=event.event, data=json.dumps(data))
        if error := _error_in(event.event, data):
            return ServerSentEvent(data=json.dumps({"error": error}))
        if isinstance(data, Mapping):
            return event
        self._malformed += bool(text)  # an event without data is an ordinary keep-alive
        return None


async def _decode_event_stream(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield valid UTF-8 without a byte order mark, and a blank line after the last event.

    A body that is JSON, such as an error with a status of 200, becomes one event.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    begun = is_json = False
    async for chunk in chunks:
        text = decoder.decode(chunk)
        if not begun and (first := text.lstrip()[:1]):
            begun, is_json = True, first in "{["
            text = f"data: {text.lstrip()}" if is_json else text
        yield (" ".join(text.splitlines()) if is_json else text).encode()
    yield b"\n\n"


def _error_in(name: str | None, data: object) -> object:
    """Return the error that an event reports; `None` if it reports none.

    Most servers send OpenAI's `error` object. Others call the event or the object `error`, some put
    the status next to an `error` that is a sentence, and some put the error into a choice.
    """
    if not isinstance(data, Mapping):
        return {"message": str(data)} if name == "error" else None
    body = cast("Mapping[str, Any]", data)
    error = body.get("error")
    if isinstance(error, Mapping) and error:
        return cast("Mapping[str, Any]", error)
    is_named_error = "error" in (name, body.get("object"), body.get("type"))
    if error or is_named_error:
        return body
    choices = body.get("choices")
    if not isinstance(choices, list):
        return None
    candidates = [choice for choice in choices if isinstance(choice, Mapping)]
    return next(filter(None, map(_error_of, candidates)), None)


def _error_of(choice: Mapping[str, Any]) -> object:
    """Return the error in a choice: as an object, or as why the answer ended."""
    reason = str(choice.get("finish_reason"))
    return choice.get("error") or ({"code": reason} if _known_reason(reason) == "error" else None)


def _known_reason(reason: str) -> str:
    """Return OpenAI's word for why an answer ended; a word that we do not know as it is."""
    return end_reasons().get(reason.lower(), reason)


MODEL: Final = "gpt-4.1-mini"
USAGE: Final = "stream_options"  # asks for the usage; some servers refuse it, or send it unasked
AZURE_VERSION: Final = "api-version"  # in the query of a URL of Azure's dated versions
MAX_REASON: Final = 80  # characters logged of each part of a refusal (chosen)
IDLE_S: Final = 120.0  # chosen: longer than pauses in calls, shorter than routers keep connections
# The SDK imports this class on first use: during an answer, that would block every call for 30 ms.
_LOADED: Final = AsyncChat


class Client(AsyncOpenAI):
    """The SDK's client for one rung, with our decoder for event streams."""

    rung_name: str
    is_plain = False  # the server has refused `USAGE`

    def _make_sse_decoder(self) -> EventStream:
        return EventStream(self.rung_name)


class OneTryOpenAI(OpenAILLMService):
    """Pipecat's service without the SDK's two hidden retries and its 600 s read time-out."""

    _client: Client

    def __init__(self, rung: RungSpec, **kwargs: Any) -> None:
        self._rung = rung
        self._server = server_at(rung.url, name=rung.name)
        self._is_strict = self._server.strict or is_strict(rung.model or "")
        self.supports_developer_role = provider("llm", "openai").serves(rung.url, rung.name)
        self._on_headers: Callable[[Mapping[str, str]], None] | None = None
        super().__init__(api_key=rung.api_key, base_url=rung.url, **kwargs)

    def create_client(self, *args: Any, **kwargs: Any) -> Client:
        """Return the client that all calls share, or else a new one, which `close` closes."""
        del args, kwargs
        shared = self._rung.shared
        return shared if isinstance(shared, Client) else share(self._rung)

    @property
    def asks_for(self) -> str:
        """The requested model's name."""
        return str(self._settings.model)

    def build_chat_completion_params(
        self, params_from_context: OpenAILLMInvocationParams
    ) -> dict[str, Any]:
        """Return a request in the form that this server accepts."""
        params = super().build_chat_completion_params(params_from_context)
        if self._client.is_plain:
            params.pop(USAGE, None)
        if self._is_strict:
            params["messages"] = [*strict(params["messages"])]
        return self._server.adapted(params)

    async def get_chat_completions(self, context: LLMContext) -> AsyncStream[ChatCompletionChunk]:
        """Open a stream; if the server does not know `USAGE`, ask without it from now on.

        That then holds for all calls which share the client.
        """
        try:
            return await super().get_chat_completions(context)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if self._client.is_plain or USAGE not in str(error.body):
                raise
            self._client.is_plain = True
            return await super().get_chat_completions(context)

    def on_headers(self, listener: Callable[[Mapping[str, str]], None]) -> None:
        """Call `listener` with the headers of each answer, which show the remaining rate limit."""
        self._on_headers = listener

    async def ask(
        self, context: LLMContext, *, on_answered: Callable[[], None]
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Stream an answer; closing the iterator releases the connection.

        It raises what the SDK raises; `failure_of` classifies that.

        Args:
            context: The conversation to answer.
            on_answered: Called when the provider accepts the request, which is billed from then on.
        """
        stream = await self._open_stream(context)
        on_answered()
        try:
            async for chunk in stream:
                yield _with_known_end(chunk)
        finally:
            await stream.close()

    async def _open_stream(self, context: LLMContext) -> AsyncStream[ChatCompletionChunk]:
        """Open a stream, and give the answer's headers to the listener, also those of a refusal."""
        emit = self._on_headers or (lambda _: None)
        try:
            stream = await self.get_chat_completions(context)
        except openai.APIStatusError as error:
            emit(error.response.headers)
            raise
        emit(stream.response.headers)
        return stream

    async def infer(self, context: LLMContext, **options: Any) -> str | None:
        """Return a complete answer, for work outside the conversation; `None` if it has no text."""
        return await self.run_inference(context, **options)

    def failure_of(self, error: Exception, *, flowing: bool) -> Failure:
        """Classify an error of `ask`; `flowing` if words had arrived."""
        return sdk_failure_of(error, self._rung.name, flowing=flowing)

    async def close(self) -> None:
        """Close the client's sockets unless calls share it; Pipecat would leave them open."""
        if self._client is not self._rung.shared:
            await self._client.close()

    async def cleanup(self) -> None:
        """Close the client's sockets, too."""
        await super().cleanup()
        await self.close()


def _with_known_end(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """Return the chunk with OpenAI's word for why the answer ended, if it is the last one."""
    for choice in getattr(chunk, "choices", None) or ():
        if choice.finish_reason:
            choice.finish_reason = cast("Any", _known_reason(str(choice.finish_reason)))
    return chunk


def sdk_failure_of(error: Exception, rung_name: str, *, flowing: bool) -> Failure:
    """Return an error of the SDK as a failure of a rung.

    The SDK copies `type` and `code` of the answer's body to its errors, and keeps the body; an
    error inside a stream has no status. Source: openai-python `_exceptions.py`, `_streaming.py`.
    """
    moment, wait_s = Moment.FLOWING if flowing else Moment.ASKED, None
    match error:
        case openai.APIStatusError():
            return _failure_of_refusal(error, rung_name)
        case openai.APITimeoutError():
            found = finding(Kind.STALLED if flowing else Kind.TIMEOUT)
        case openai.APIConnectionError():
            found = finding(Kind.CUT) if flowing else classify_error(error)
        case openai.APIError():
            found = classify_message("openai", error.body, moment=moment)
            if found.unknown:  # the server works, so the content may be the cause
                found = replace(found, scope=Scope.REQUEST)
            wait_s = retry_after_s({}, error.message)
        case _:
            found = finding(Kind.CUT) if flowing else classify_error(error)
    reason = type(error).__name__
    return failed(found, "llm", provider=rung_name, reason=reason, retry_after_s=wait_s)


def _failure_of_refusal(error: openai.APIStatusError, rung_name: str) -> Failure:
    """Return a refused request as a failure; its reason has the error's codes, but no message."""
    headers = error.response.headers
    parts = (error.status_code, error.type, error.code, error.param)
    return failed(
        classify_http("openai", error.status_code, error.body),
        "llm",
        provider=rung_name,
        reason=" ".join(str(part)[:MAX_REASON] for part in parts if part),
        retry_after_s=retry_after_s(headers, error.message),
        same_rung=may_ask_again(headers),
    )


def share(rung: RungSpec) -> Client:
    """Return a client without retries and with short timeouts, which keeps connections warm.

    The caller closes it. A connection that is idle for `IDLE_S` is closed. Otherwise the client
    would keep as many connections as it ever needed, and routers silently drop connections that are
    idle for long.
    """
    base, query = address_of(rung)
    client = Client(
        api_key=rung.api_key,
        base_url=base,
        default_query=query,
        max_retries=0,
        timeout=openai.Timeout(rung.timeout_s, connect=HANDSHAKE_S),
        http_client=openai.DefaultAsyncHttpxClient(
            limits=connection_limits(max_keepalive_connections=100, keepalive_expiry=IDLE_S),
            verify=tls_context(),  # its default reads certificates again: 30 to 100 ms
            follow_redirects=False,  # callers' words go only to the configured address
            trust_env=False,
            proxy=proxy_for(rung.url),
            event_hooks={"request": [_send_azure_key] if AZURE_VERSION in query else []},
        ),
    )
    client.rung_name = rung.name
    return client


async def _send_azure_key(request: Any) -> None:
    """Send the key as Azure's dated versions take it."""
    request.headers["api-key"] = request.headers.pop("Authorization").removeprefix("Bearer ")


def address_of(rung: RungSpec) -> tuple[str, dict[str, str]]:
    """Return a rung's base URL, and the query of each request."""
    parts = urlsplit(rung.url)
    return urlunsplit(parts._replace(query="")), dict(parse_qsl(parts.query))


def build(rung: RungSpec) -> OneTryOpenAI:
    """Return a language model that streams from this rung."""
    return OneTryOpenAI(
        rung,
        settings=OpenAILLMService.Settings(
            model=rung.model or MODEL,
            system_instruction=rung.instructions or None,
            **rung.options,
        ),
    )


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Read the list of models, or what else needs a key: free of charge, without tokens.

    Raises:
        ProbeFailedError: The server refused, or did not answer in time.
    """
    base, query = address_of(rung)
    is_azure = AZURE_VERSION in query
    key = {"api-key": rung.api_key} if is_azure else {"Authorization": f"Bearer {rung.api_key}"}
    base = base.partition("/deployments/")[0]  # Azure lists the models of the whole resource
    path = server_at(rung.url, name=rung.name).probe
    url = f"{base.rstrip('/')}/{path}" + (f"?{urlencode(query)}" if query else "")
    await ask_http(url, headers=key, timeout_s=timeout_s)


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Request one word, with the options of callers' requests, and the rung's tools, if any.

    Raises:
        ProbeFailedError: The server refused, or the word did not arrive in time.
    """
    model = build(replace(rung, instructions=""))
    try:
        await ask_for_word(model, rung, timeout_s=timeout_s)
    finally:
        await model.close()


REFUSED: Final = "content_filter"  # the `finish_reason` of a refused answer


async def write(rung: RungSpec, question: PenQuestion) -> PenAnswer:
    """Return a complete answer.

    No parameter asks for JSON or bounds the length: servers with this protocol disagree on the
    parameters' names, and some refuse unknown ones.

    Raises:
        ServiceError: The rung failed, or refused this request; holds the failure.
    """
    client = rung.shared if isinstance(rung.shared, Client) else share(rung)
    try:
        request: dict[str, Any] = {
            "model": rung.model or MODEL,
            "messages": [
                {"role": "system", "content": question.instruction},
                {"role": "user", "content": question.text},
            ],
        }
        server = server_at(rung.url, name=rung.name)
        answer = await client.chat.completions.create(**server.adapted(request))
    except (openai.OpenAIError, ValueError, OSError) as error:
        raise error_of(sdk_failure_of(error, rung.name, flowing=False)) from error
    finally:
        if client is not rung.shared:
            await client.close()
    return _pen_answer(answer, rung)


def _pen_answer(answer: ChatCompletion, rung: RungSpec) -> PenAnswer:
    """Return a complete answer; raise a `ServiceError` for an error or a refusal in its place."""
    if error := getattr(answer, "error", None):  # some servers send it with a status of 200
        found = classify_message("openai", error, moment=Moment.ASKED)
        raise error_of(failed(found, "llm", provider=rung.name, reason="an error in the answer"))
    choice = answer.choices[0] if answer.choices else None
    if choice is None or choice.message.refusal or choice.finish_reason == REFUSED:
        found = finding(Kind.BAD_REQUEST, Scope.PAYLOAD, permanent=True)
        raise error_of(failed(found, "llm", provider=rung.name, reason="refused to answer"))
    usage = answer.usage
    cached = (
        usage.prompt_tokens_details.cached_tokens if usage and usage.prompt_tokens_details else 0
    )
    return PenAnswer(
        text=choice.message.content or "",
        model=answer.model or rung.model or MODEL,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=cached or 0,
        completion_tokens=usage.completion_tokens if usage else 0,
    )
