"""The owner's tools: an HTTP request or a Python function, described in the configuration."""

import asyncio
import importlib
import inspect
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import aiohttp

from bot.config.agent import ToolSettings
from bot.http import parse_json, request
from bot.tools.toolbox import Run, Tool, ToolFailed

BODY_LIMIT_BYTES: Final = 64_000  # of a response; a model reads at most 4,000 characters of it
THREADS: Final = 4  # per tool; a function that hangs keeps its thread

_JSON_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


def owner_tools(settings: Iterable[ToolSettings]) -> tuple[Tool, ...]:
    """Return the tools that the configuration describes.

    Raises:
        ValueError: An entry point names no function; the message says which.
    """
    return tuple(
        _from_function(setting) if setting.entry_point else _from_url(setting)
        for setting in settings
    )


def _from_url(settings: ToolSettings) -> Tool:
    return Tool(
        name=settings.name or "",
        description=settings.description or "",
        parameters=settings.parameters,
        run=_request(settings),
        timeout_s=settings.timeout_s,
        bridge=settings.bridge,
    )


def _request(settings: ToolSettings) -> Run:
    async def run(arguments: Mapping[str, Any]) -> Any:
        try:
            async with request(
                settings.method,
                settings.url or "",
                headers=_headers(settings),
                allow_redirects=False,  # the secret must only go to the configured URL
                **_payload(settings, arguments),
            ) as response:
                return _read(settings, response.status, await _body(response))
        except aiohttp.ClientError as error:
            raise ToolFailed(f"{settings.name} cannot be reached") from error

    return run


def _headers(settings: ToolSettings) -> dict[str, str]:
    if settings.secret is None:
        return {}
    return {"Authorization": f"Bearer {settings.secret.get_secret_value()}"}


def _payload(settings: ToolSettings, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if settings.method not in ("GET", "DELETE"):
        return {"json": dict(arguments)}
    return {"params": {name: _plain(value) for name, value in arguments.items()}}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def _body(response: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise ToolFailed("the answer is too long to be read")
    return body.decode("utf-8", "replace")


def _read(settings: ToolSettings, status: int, body: str) -> Any:
    if 300 <= status < 400:
        raise ToolFailed(f"{settings.name} answered with a redirect, which is not followed")
    if status >= 400:
        raise ToolFailed(f"{settings.name} answered {status}: {body[:200]}")
    try:
        return parse_json(body) if body else "done"
    except ValueError:
        return body


def _from_function(settings: ToolSettings) -> Tool:
    function = _load(settings.entry_point or "")
    described = inspect.getdoc(function) or ""
    given = settings.parameters.get("properties")
    return Tool(
        name=settings.name or function.__name__,
        description=settings.description or described.partition("\n\n")[0] or function.__name__,
        parameters=settings.parameters if given else _parameters(function, settings),
        run=_call(function),
        timeout_s=settings.timeout_s,
        bridge=settings.bridge,
    )


def _load(entry_point: str) -> Callable[..., Any]:
    module, _, name = entry_point.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # the owner's module may raise anything
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"tools: entry_point {entry_point!r} cannot be loaded: {said}") from error
    if not callable(function):
        raise ValueError(f"tools: entry_point {entry_point!r} is not a function")  # noqa: TRY004
    return function


def _parameters(function: Callable[..., Any], settings: ToolSettings) -> dict[str, Any]:
    """Return the schema of a function's signature."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception as error:  # annotations are the owner's code
        said = f"{type(error).__name__}: {error}; give its `parameters`"
        raise ValueError(
            f"tools: entry_point {settings.entry_point!r} has no signature to read: {said}"
        ) from error
    named = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    return {
        "type": "object",
        "properties": {text.name: _describe(text.annotation) for text in named},
        "required": [text.name for text in named if text.default is text.empty],
        "additionalProperties": False,
    }


def _describe(annotation: Any) -> dict[str, str]:
    kind = _JSON_TYPES.get(annotation)
    return {"type": kind} if kind else {}


def _call(function: Callable[..., Any]) -> Run:
    free = threading.BoundedSemaphore(THREADS)

    async def run(arguments: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        if not free.acquire(blocking=False):
            raise ToolFailed("it is still busy with earlier requests")
        result = await _in_thread(lambda: function(**arguments), free)
        # A decorated asynchronous function may not look like one.
        return await result if inspect.isawaitable(result) else result

    return run


async def _in_thread(work: Callable[[], Any], free: threading.BoundedSemaphore) -> Any:
    """Run `work` in a thread that cannot delay the end of the process, unlike a pool's thread."""
    loop = asyncio.get_running_loop()
    # The error is part of the result, because a future cannot hold a StopIteration, as from `next`.
    result: asyncio.Future[tuple[Any, Exception | None]] = loop.create_future()

    def settle(value: Any, error: Exception | None) -> None:
        if not result.done():  # otherwise the wait was cancelled
            result.set_result((value, error))

    def body() -> None:
        try:
            value, error = work(), None
        except Exception as raised:  # noqa: BLE001 - raised again in the waiting task
            value, error = None, raised
        finally:
            free.release()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=body, daemon=True, name="tool").start()
    value, error = await result
    if error is not None:
        raise error
    return value
