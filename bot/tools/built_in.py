"""The tools that every agent has: end the call, ask for a person, ask for a callback."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import FunctionCallResultProperties
from pipecat.services.llm_service import FunctionCallParams

from bot.clock import Clock
from bot.config.agent import AgentSettings
from bot.tools.desk import Unkept
from bot.tools.owner import owner_tools
from bot.tools.toolbox import Tool, Toolbox, ToolFailed
from calls.entry import Tell
from calls.events import CallbackWanted, PersonWanted, ToolCalled
from calls.words import clean
from processors.farewell import PartFrame

REASON_LIMIT: Final = 200  # characters of what a model may write into a fact
WHEN_LIMIT: Final = 80  # with the reason, no more than a callback's row takes

NoteCallback: TypeAlias = Callable[[str], Awaitable[Unkept | None]]
"""Keeps a request to be called back, and returns once it is kept, or why it is not."""

UNKEPT: Final[Mapping[Unkept, str]] = {
    Unkept.NO_NUMBER: (
        "The callback is not noted: this caller's number is not known. Tell the caller that nobody "
        "can call back, and ask them to call again with their number shown."
    ),
    Unkept.NOT_STORED: (
        "The callback is not noted: it could not be written down. Tell the caller so, and ask them "
        "to call again later."
    ),
}
"""What the model is told, so that it promises nothing."""


class Tools:
    """The tools of one call: ours and the owner's. `close` them with the call."""

    def __init__(
        self,
        agent: AgentSettings,
        *,
        note_callback: NoteCallback,
        turn: Callable[[], int],
        tell: Tell,
        clock: Clock,
        speaking: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take what tools tell of.

        Args:
            agent: Whose tools they are.
            note_callback: Keeps who wants to be called back.
            turn: Returns the number of the turn in progress.
            tell: Told of each use.
            clock: For how long it took.
            speaking: Returns whether the agent is heard right now, and so needs no bridge.
        """
        ours = (
            _transfer_to_person(turn, tell),
            _request_callback(note_callback, turn=turn, tell=tell),
        )
        every = (*ours, *owner_tools(agent.tools))
        self._toolbox = Toolbox(tools=every, turn=turn, tell=tell, clock=clock, speaking=speaking)
        self.schemas = (end_call(agent, turn=turn, tell=tell), *self._toolbox.schemas())
        """What the model is told of each tool, with the handler that runs it."""

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        await self._toolbox.close()


def end_call(agent: AgentSettings, *, turn: Callable[[], int], tell: Tell) -> FunctionSchema:
    """Return the tool that hangs up after the model's goodbye, or the agent's if it said none."""

    async def handle(params: FunctionCallParams) -> None:
        arguments = params.arguments if isinstance(params.arguments, Mapping) else {}
        said = clean(str(arguments.get("goodbye") or ""), REASON_LIMIT)
        tell(ToolCalled(turn=turn(), tool="end_call", outcome="ok", took_s=0.0))
        # Sent down the line, behind the answer's words, so that Farewell has seen those words.
        await params.llm.push_frame(PartFrame(words=said or agent.farewell))
        await params.result_callback(
            {"result": "the call ends after the goodbye"},
            properties=FunctionCallResultProperties(run_llm=False),
        )

    return FunctionSchema(
        name="end_call",
        description=(
            "Hang up. Use it when the caller has said goodbye or wants nothing more. Say goodbye "
            "in the same message, or put the words into `goodbye`."
        ),
        properties={"goodbye": {"type": "string", "description": "Spoken before hanging up."}},
        required=[],
        handler=handle,
    )


def _transfer_to_person(turn: Callable[[], int], tell: Tell) -> Tool:
    async def run(arguments: Mapping[str, Any]) -> str:
        tell(PersonWanted(turn=turn(), reason=_text(arguments, "reason")))
        return "Nobody can be connected on this line: tell the caller so, and offer a callback."

    return Tool(
        name="transfer_to_person",
        description="Ask for a person to take over, when the caller wants one or you cannot help.",
        parameters=_strings(reason="Why, in a few words."),
        run=run,
    )


def _request_callback(note: NoteCallback, *, turn: Callable[[], int], tell: Tell) -> Tool:
    async def run(arguments: Mapping[str, Any]) -> str:
        when, reason = _text(arguments, "when", WHEN_LIMIT), _text(arguments, "reason")
        unkept = await note("; ".join(filter(None, [reason, when and f"when: {when}"])))
        if unkept is not None:
            raise ToolFailed(UNKEPT[unkept])
        tell(CallbackWanted(turn=turn(), when=when, reason=reason))
        return "The callback is noted for the staff. Confirm it to the caller."

    return Tool(
        name="request_callback",
        description="Note that the caller wants to be called back.",
        parameters=_strings(
            when="When it suits the caller, in the caller's words.", reason="What it is about."
        ),
        run=run,
    )


def _strings(**described: str) -> dict[str, Any]:
    properties = {
        name: {"type": "string", "description": words} for name, words in described.items()
    }
    return {"type": "object", "properties": properties, "required": []}


def _text(arguments: Mapping[str, Any], name: str, limit: int = REASON_LIMIT) -> str:
    return clean(str(arguments.get(name, "")), limit)
