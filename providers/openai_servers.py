"""Servers that speak OpenAI's protocol, and how requests to them differ from OpenAI's own."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from runtime.hosts import is_near

TABLE: Final = Path(__file__).with_name("data") / "openai_servers.yaml"
STRICT_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
BRIDGE: Final = {"role": "assistant", "content": "OK."}  # between a tool's result and the caller


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIServer:
    """One server; the table explains the fields."""

    url: str = ""
    title: str = ""
    key_env: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    strict: bool = False
    models: tuple[str, ...] = ()
    probe: str = "models"
    note: str = ""

    def adapted(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request's parameters as the server accepts them: renamed, left out, or added."""
        found = {name: given for name, given in request.items() if name not in self.renamed}
        for name, own in self.renamed.items():
            if own and request.get(name):  # OpenAI's mark for "not given" is false
                found[own] = request[name]
        if self.body:
            found["extra_body"] = {**self.body, **(request.get("extra_body") or {})}
        return found


@cache
def openai_servers() -> Mapping[str, OpenAIServer]:
    """Return the servers that the table describes, by name."""
    table = yaml.safe_load(TABLE.read_text("utf-8"))
    return {name: OpenAIServer(**row) for name, row in table.items()}


def server_at(url: str, *, name: str = "") -> OpenAIServer:
    """Return the server in the table at a rung's address; one without peculiarities otherwise.

    Any server may run in a private network, so there the beginning of the rung's name decides.
    """
    host = urlsplit(url).hostname or ""
    for key, server in openai_servers().items():
        own = (urlsplit(server.url).hostname or "").removeprefix("resource.")
        if name.startswith(key) if is_near(host) else f".{host}".endswith(f".{own}"):
            return server
    return OpenAIServer()


def is_strict(model: str) -> bool:
    """Return whether a model takes only strict conversations, whatever serves it."""
    parts = (part for server in openai_servers().values() for part in server.models)
    return any(part in model.lower() for part in parts)


def strict(messages: Iterable[Any]) -> Iterator[Any]:
    """Yield a conversation as strict servers accept it, whichever model made its tool calls.

    Ids of tool calls become nine letters and digits, and `BRIDGE` follows a tool's result if the
    caller speaks next. An entry in a vendor's own form is not changed.
    """
    after = ""
    for message in messages:
        if not isinstance(message, Mapping):
            yield message
            continue
        if after == "tool" and message["role"] == "user":
            yield BRIDGE
        after = message["role"]
        if after == "tool":
            yield {**message, "tool_call_id": _strict_id(message["tool_call_id"])}
        elif calls := message.get("tool_calls"):
            yield {
                **message,
                "tool_calls": [{**call, "id": _strict_id(call["id"])} for call in calls],
            }
        else:
            yield message


def _strict_id(call_id: str) -> str:
    """Return a tool call's id as strict servers accept it; the same for the same id."""
    is_valid = STRICT_ID.fullmatch(call_id)
    return call_id if is_valid else hashlib.sha256(call_id.encode()).hexdigest()[:9]
