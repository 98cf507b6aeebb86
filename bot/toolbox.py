"""Runs what the model asks for: bounded in time, never twice in a turn, always with a result."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.services.llm_service import FunctionCallParams

from bot.clock import Clock
from bot.tool_schema import problems
from calls.entry import Tell
from calls.events import ToolCalled

BRIDGE_AFTER_S: Final = 1.0  # of silence before the caller is told that it takes a moment
RESULT_LIMIT: Final = 4_000  # characters of a result that the model gets to read

Run: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Does what the tool is for. Raises `ToolFailed` with a sentence for the model."""


class ToolFailed(Exception):  # noqa: N818 - a fact that the model is told, not a mistake of ours
    """A tool did not do it; the message is for the model, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something that the model may do."""

    name: str
    description: str
    parameters: Mapping[str, Any]  # JSON schema of type object
    run: Run
    timeout_s: float = 5.0
    bridge: str | None = None  # spoken when the result is late


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    turn: int
    task: asyncio.Task[dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Toolbox:
    """A call's tools. `close` it with the call."""

    tools: Sequence[Tool]
    turn: Callable[[], int]  # the number of the turn in progress
    tell: Tell
    clock: Clock
    bridge_after_s: float = BRIDGE_AFTER_S
    _attempts: dict[str, _Attempt] = field(default_factory=dict, init=False)

    def schemas(self) -> list[FunctionSchema]:
        """Return what the model is told of each tool, with the handler that runs it."""
        return [
            FunctionSchema(
                name=tool.name,
                description=tool.description,
                properties=dict(tool.parameters.get("properties") or {}),
                required=list(tool.parameters.get("required") or ()),
                handler=self._handler(tool),
            )
            for tool in self.tools
        ]

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        tasks = [each.task for each in self._attempts.values()]
        self._attempts.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _handler(self, tool: Tool) -> Callable[[FunctionCallParams], Coroutine[Any, Any, None]]:
        async def handle(params: FunctionCallParams) -> None:
            await params.result_callback(await self._answer(tool, params))

        return handle

    async def _answer(self, tool: Tool, params: FunctionCallParams) -> dict[str, Any]:
        if wrong := problems(params.arguments, tool.parameters):
            self._told(tool, turn=self.turn(), outcome="refused", took_s=0.0)
            return {"error": "; ".join(wrong)}
        task = self._attempt(tool, params.arguments)
        # Waited for, not awaited: a caller who barges in ends the waiting, not the booking.
        done, _ = await asyncio.wait({task}, timeout=self.bridge_after_s)
        if not done and tool.bridge:
            await params.llm.push_frame(TTSSpeakFrame(tool.bridge, append_to_context=False))
        await asyncio.wait({task})
        return {"error": "it was stopped"} if task.cancelled() else task.result()

    def _attempt(self, tool: Tool, arguments: Mapping[str, Any]) -> asyncio.Task[dict[str, Any]]:
        """Join the same request of this turn, or one still running; otherwise begin it."""
        turn = self.turn()
        self._attempts = {
            key: each
            for key, each in self._attempts.items()
            if each.turn == turn or not each.task.done()
        }
        key = f"{tool.name} {json.dumps(arguments, sort_keys=True)}"
        if key not in self._attempts:
            # Owned by this object, which cancels and awaits it: see `close`.
            work = self._work(tool, arguments, turn=turn)
            task = asyncio.get_running_loop().create_task(work, name=f"tool {tool.name}")
            self._attempts[key] = _Attempt(turn=turn, task=task)
        return self._attempts[key].task

    async def _work(self, tool: Tool, arguments: Mapping[str, Any], *, turn: int) -> dict[str, Any]:
        began = self.clock()
        outcome, result = await _run(tool, arguments)
        self._told(tool, turn=turn, outcome=outcome, took_s=self.clock() - began)
        return result

    def _told(self, tool: Tool, *, turn: int, outcome: str, took_s: float) -> None:
        self.tell(ToolCalled(turn=turn, tool=tool.name, outcome=outcome, took_s=took_s))


async def _run(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the outcome and a result that the model can use, whatever happens."""
    try:
        async with asyncio.timeout(tool.timeout_s):
            result = _bounded(await tool.run(arguments))
    except TimeoutError:
        return "late", {"error": f"{tool.name} did not answer in time; do not try it again now"}
    except ToolFailed as failed:
        return "failed", {"error": str(failed)}
    except Exception as error:  # noqa: BLE001 - an owner's function may raise anything; it is told
        return "failed", {"error": f"{tool.name} failed ({type(error).__name__})"}
    return "ok", {"result": result}


def _bounded(result: Any) -> Any:
    """Return what JSON can say of the result, cut to what a model should read."""
    text = json.dumps(result, ensure_ascii=False, default=str)
    if len(text) <= RESULT_LIMIT:
        return json.loads(text)
    return text[:RESULT_LIMIT] + " […]"
