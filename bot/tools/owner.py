"""The owner's tools: an HTTP request or a Python function, described in the configuration."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from aiohttp.typedefs import URL  # pyright: ignore[reportPrivateImportUsage] - writes the query
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema

from bot.tools.own_functions import NAMES, function_tool
from bot.tools.tool_words import BUILT_IN
from bot.tools.toolbox import Run, Tool, ToolFailed, schema_of
from calls.caller import clean
from configuration.agent import BODILESS, AgentSettings, CallFact, ToolSettings
from operations.remote import signature
from runtime import clock
from runtime.http import parse_json, request
from transports.leg import LegFacts

BODY_LIMIT_BYTES: Final = 64_000  # of a response; a model reads at most 4,000 characters of it
FACT_CHARACTERS: Final = 128  # of a number or an id, which may be a SIP address
CALL_HEADER: Final = "Holdline-Call"  # the facts of the call, as JSON
TIME_HEADER: Final = "Holdline-Timestamp"  # seconds since 1970
SIGNATURE_HEADER: Final = "Holdline-Signature"  # over time, facts and body or query


def call_facts(call_id: str, leg: LegFacts) -> dict[CallFact, str]:
    """Return the facts of a call; they come from the line, not from what is said.

    Each is cut off after `FACT_CHARACTERS`, and empty if it is unknown.
    """
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
        ValueError: A tool cannot be used.
    """
    tools: list[Tool] = []
    for about, made in made_tools(settings, facts or {}):
        if isinstance(made, str):
            raise ValueError(f"tools: {about!r} {made}")  # noqa: TRY004
        tools.append(made)
    return tuple(tools)


def made_tools(
    settings: Iterable[ToolSettings], facts: Mapping[CallFact, str]
) -> Iterator[tuple[str, Tool | str]]:
    """Yield each tool's entry point or name, and the tool, or why it cannot be used.

    Imports the modules of functions. Of two tools of one name, the second cannot be used.
    """
    taken: set[str] = set()
    for setting in settings:
        about = setting.entry_point or setting.name or ""
        try:
            made = function_tool(setting) if setting.entry_point else _from_url(setting, facts)
            _check_name(made.name, taken)
        except ValueError as wrong:
            yield about, " ".join(str(wrong).split())
            continue
        taken.add(made.name)
        yield about, _bind_facts(made, setting, facts)


def tool_schemas(agents: Iterable[AgentSettings]) -> tuple[FunctionSchema, ...]:
    """Return the schemas of the agents' own tools that can be used.

    If several agents have a tool of the same name, the first one's is returned.
    """
    found = [made for agent in agents for _, made in made_tools(agent.tools, {})]
    tools = {tool.name: tool for tool in reversed(found) if isinstance(tool, Tool)}
    return tuple(map(schema_of, tools.values()))


def _check_name(name: str, taken: set[str]) -> None:
    """Raise `ValueError` if a tool cannot have this name, as the others are called."""
    if not NAMES.fullmatch(name):
        raise ValueError(
            f"is called {name!r}, which models' providers reject; give it a `name` of at most 64 "
            "letters, digits, _ and -"
        )
    if name in BUILT_IN:
        raise ValueError(f"is called {name!r} like a tool of Holdline; give it another `name`")
    if name in taken:
        raise ValueError(f"is called {name!r} like a tool before it; give one another `name`")


def _bind_facts(tool: Tool, settings: ToolSettings, facts: Mapping[CallFact, str]) -> Tool:
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
    """Return a tool that sends a request to the configured URL."""
    return Tool(
        name=settings.name or "",
        description=settings.description or "",
        parameters=settings.parameters,
        run=_http_run(settings, facts),
        timeout_s=settings.timeout_s,
        bridge=settings.bridge,
    )


def _http_run(settings: ToolSettings, facts: Mapping[CallFact, str]) -> Run:
    """Return what sends the arguments to the tool's URL, as a query or as JSON, and reads a result.

    `Toolbox` limits its time.
    """

    async def run(arguments: Mapping[str, Any]) -> Any:
        """Send the request and return the result; raise `ToolFailed` without a response."""
        url, body = URL(settings.url or ""), ""
        if settings.method in BODILESS:
            url = url.extend_query({name: _query_value(item) for name, item in arguments.items()})
        else:
            body = json.dumps(dict(arguments))
        try:
            async with request(
                settings.method,
                str(url),
                headers=_request_headers(settings, json.dumps(facts), body or url.raw_query_string),
                allow_redirects=False,  # the secret must only go to the configured URL
                data=body.encode() or None,
            ) as response:
                return _result_from(settings, response.status, await _read_body(response))
        except aiohttp.ClientError as error:
            raise ToolFailed(f"{settings.name} cannot be reached") from error

    return run


def _request_headers(settings: ToolSettings, facts: str, arguments: str) -> dict[str, str]:
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
    """Return a response's text; raise `ToolFailed` if it exceeds `BODY_LIMIT_BYTES`."""
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
