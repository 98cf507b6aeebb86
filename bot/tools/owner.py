"""The owner's tools: an HTTP request or a Python function, described in the configuration."""

import asyncio
import importlib
import inspect
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from aiohttp.typedefs import URL  # pyright: ignore[reportPrivateImportUsage] - writes the query

from bot import clock
from bot.config.agent import BODILESS, CallFact, ToolSettings
from bot.http import parse_json, request
from bot.tools.toolbox import Run, Tool, ToolFailed
from calls.caller import clean
from operations.remote import signature
from transports.leg import LegFacts

BODY_LIMIT_BYTES: Final = 64_000  # of a response; a model reads at most 4,000 characters of it
FACT_CHARACTERS: Final = 128  # of a number or an id, which may be a SIP address
CALL_HEADER: Final = "Holdline-Call"  # the facts of the call, as JSON
TIME_HEADER: Final = "Holdline-Timestamp"  # seconds since 1970
SIGNATURE_HEADER: Final = "Holdline-Signature"  # over time, facts and body or query
THREADS: Final = 4  # per tool; a function that hangs occupies its thread

_JSON_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


def call_facts(call_id: str, leg: LegFacts) -> dict[CallFact, str]:
    """Return the facts of a call; they come from the line, not from what anybody says."""
    facts: dict[CallFact, str] = {
        "number": leg.other_party,
        "caller": leg.caller,
        "called": leg.called,
        "attestation": leg.attestation,
        "call_id": call_id,
        "call_ref": leg.call_ref,
        "direction": leg.direction,
        "transport": leg.transport,
    }
    return {name: clean(value, FACT_CHARACTERS) for name, value in facts.items()}


def owner_tools(
    settings: Iterable[ToolSettings], facts: Mapping[CallFact, str] | None = None
) -> tuple[Tool, ...]:
    """Return the tools that the configuration describes, for a call with these facts.

    Raises:
        ValueError: An entry point cannot be used, or a bound parameter is not one of its function.
    """
    return tuple(
        _bind(
            _from_function(setting) if setting.entry_point else _from_url(setting, facts or {}),
            setting,
            facts or {},
        )
        for setting in settings
    )


def _bind(tool: Tool, settings: ToolSettings, facts: Mapping[CallFact, str]) -> Tool:
    """Return a tool whose bound parameters are filled with facts and hidden from the model."""
    schema, bound = tool.parameters, settings.bound
    needed = [name for name in bound if name in schema.get("required", ())]
    filled = {name: facts.get(fact, "") for name, fact in bound.items()}

    async def run(arguments: Mapping[str, Any]) -> Any:
        for name in needed:
            if not filled[name]:
                raise ToolFailed(f"the {bound[name]} of this call is not known")
        return await tool.run({**arguments, **filled})

    known = (schema.get("properties") or {}).items()
    offered = {name: described for name, described in known if name not in bound}
    required = [name for name in schema.get("required", ()) if name not in bound]
    return replace(
        tool,
        parameters={**schema, "properties": offered, "required": required},
        run=run if bound else tool.run,
        verifies=settings.verifies,
        sensitive=settings.sensitive,
    )


def _from_url(settings: ToolSettings, facts: Mapping[CallFact, str]) -> Tool:
    return Tool(
        name=settings.name or "",
        description=settings.description or "",
        parameters=settings.parameters,
        run=_http_run(settings, facts),
        timeout_s=settings.timeout_s,
        bridge=settings.bridge,
    )


def _http_run(settings: ToolSettings, facts: Mapping[CallFact, str]) -> Run:
    async def run(arguments: Mapping[str, Any]) -> Any:
        url, body = URL(settings.url or ""), ""
        if settings.method in BODILESS:
            url = url.extend_query({name: _query_value(item) for name, item in arguments.items()})
        else:
            body = json.dumps(dict(arguments))
        try:
            async with request(
                settings.method,
                str(url),
                headers=_headers(settings, json.dumps(facts), body or url.raw_query_string),
                allow_redirects=False,  # the secret must only go to the configured URL
                data=body.encode() or None,
            ) as response:
                return _result_from(settings, response.status, await _read_body(response))
        except aiohttp.ClientError as error:
            raise ToolFailed(f"{settings.name} cannot be reached") from error

    return run


def _headers(settings: ToolSettings, facts: str, arguments: str) -> dict[str, str]:
    """Return the headers: the facts of the call, the bearer token and the signature.

    `arguments` is the body, or the query of a request without one.
    """
    headers = {CALL_HEADER: facts}
    if settings.method not in BODILESS:
        headers["Content-Type"] = "application/json"
    if settings.secret:
        headers["Authorization"] = f"Bearer {settings.secret.get_secret_value()}"
    if settings.signing_secret:
        timestamp = str(int(clock.utc_now().timestamp()))
        secret = settings.signing_secret.get_secret_value()
        headers[TIME_HEADER] = timestamp
        headers[SIGNATURE_HEADER] = signature(secret, f"{timestamp}.{facts}.{arguments}")
    return headers


def _query_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def _read_body(response: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise ToolFailed("the answer is too long to be read")
    return body.decode("utf-8", "replace")


def _result_from(settings: ToolSettings, status: int, body: str) -> Any:
    """Return the JSON value or the text of a response; raise `ToolFailed` for a bad status."""
    if 300 <= status < 400:
        raise ToolFailed(f"{settings.name} answered with a redirect, which is not followed")
    if status >= 400:
        raise ToolFailed(f"{settings.name} answered {status}: {clean(body, 200)}")
    try:
        return parse_json(body) if body else "done"
    except ValueError:
        return body


def _from_function(settings: ToolSettings) -> Tool:
    function = _load_function(settings.entry_point or "")
    docstring = inspect.getdoc(function) or ""
    given = settings.parameters.get("properties")
    parameters = settings.parameters if given else _schema_of(function, settings)
    for name in settings.bound:
        if name not in parameters["properties"]:
            raise ValueError(f"tools: {settings.entry_point!r} has no parameter `bound.{name}`")
    return Tool(
        name=settings.name or function.__name__,
        description=settings.description or docstring.partition("\n\n")[0] or function.__name__,
        parameters=parameters,
        run=_function_run(function),
        timeout_s=settings.timeout_s,
        bridge=settings.bridge,
    )


def _load_function(entry_point: str) -> Callable[..., Any]:
    module, _, name = entry_point.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # the owner's module may raise anything
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"tools: entry_point {entry_point!r} cannot be loaded: {why}") from error
    if not callable(function):
        raise ValueError(f"tools: entry_point {entry_point!r} is not a function")  # noqa: TRY004
    return function


def _schema_of(function: Callable[..., Any], settings: ToolSettings) -> dict[str, Any]:
    """Return the schema of a function's signature; raise `ValueError` if it cannot be read."""
    try:
        declared = inspect.signature(function, eval_str=True)
    except Exception as error:  # annotations are the owner's code
        why = f"{type(error).__name__}: {error}; give its `parameters`"
        raise ValueError(
            f"tools: entry_point {settings.entry_point!r} has no signature to read: {why}"
        ) from error
    named = [
        parameter
        for parameter in declared.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    return {
        "type": "object",
        "properties": {item.name: _type_schema(item.annotation) for item in named},
        "required": [item.name for item in named if item.default is item.empty],
        "additionalProperties": False,
    }


def _type_schema(annotation: Any) -> dict[str, str]:
    kind = _JSON_TYPES.get(annotation)
    return {"type": kind} if kind else {}


def _function_run(function: Callable[..., Any]) -> Run:
    free_threads = threading.BoundedSemaphore(THREADS)

    async def run(arguments: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        if not free_threads.acquire(blocking=False):
            raise ToolFailed("it is still busy with earlier requests")
        result = await _in_thread(lambda: function(**arguments), free_threads)
        # A decorated asynchronous function may not look like one.
        return await result if inspect.isawaitable(result) else result

    return run


async def _in_thread(work: Callable[[], Any], free_threads: threading.BoundedSemaphore) -> Any:
    """Run `work` in a daemon thread and return its result; release `free_threads` when it ends.

    Unlike a pool's thread, a daemon thread cannot delay the end of the process.
    """
    loop = asyncio.get_running_loop()
    # The error is part of the result, because a future cannot hold a StopIteration.
    result: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if not result.done():  # otherwise the wait was cancelled
            result.set_result((value, error))

    def body() -> None:
        try:
            value, error = work(), None
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - raised in the waiting task
            value, error = None, raised
        finally:
            free_threads.release()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=body, daemon=True, name="tool").start()
    value, error = await result
    if error is not None:
        raise error
    return value
