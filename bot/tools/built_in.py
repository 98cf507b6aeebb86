"""The tools that every agent has: end the call, ask for a person, ask for a callback."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import FunctionCallResultProperties
from pipecat.services.llm_service import FunctionCallParams

from bot.clock import Clock
from bot.config.agent import AgentSettings
from bot.tools.desk import Unkept
from bot.tools.owner import owner_tools
from bot.tools.toolbox import LateResults, Tool, Toolbox, ToolFailed
from calls.caller import clean
from calls.entry import Tell
from calls.events import CallbackWanted, PersonWanted, ToolCalled
from calls.tool_schema import problems
from processors.holding.caller_silence import PartFrame

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


BEING_CONNECTED: Final = {"result": "the caller has been told and is being connected"}
NOBODY_THERE: Final = {
    "result": "Nobody can be connected now: tell the caller so, and offer a callback."
}


class ReachesPeople(Protocol):
    """Hands the caller over to somebody whom the configuration names."""

    @property
    def names(self) -> tuple[str, ...]:
        """Whom the model may choose from; nobody: this line reaches nobody."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the caller waits for a person, or is with one."""
        ...

    def reach(self, name: str, reason: str, *, behind_words: bool = False) -> bool:
        """Begin to hand the caller over; False: it cannot be done now."""
        ...


class Tools:
    """The tools of one call: ours and the owner's. `close` them with the call."""

    def __init__(  # noqa: PLR0913 - what tools ask of a call, each by its name
        self,
        agent: AgentSettings,
        *,
        note_callback: NoteCallback,
        turn: Callable[[], int],
        tell: Tell,
        clock: Clock,
        speaking: Callable[[], bool] = lambda: False,
        people: ReachesPeople | None = None,
        more: Sequence[Tool] = (),
    ) -> None:
        """Offer the tools that `agent` has.

        Args:
            agent: Whose tools they are.
            note_callback: Keeps who wants to be called back.
            turn: Returns the number of the turn in progress.
            tell: Told of each use.
            clock: For how long it took.
            speaking: Returns whether the agent is heard right now, and so needs no bridge.
            people: Hands callers over; None: nobody does.
            more: That this call has beside the others.
        """
        reaches = people is not None and bool(people.names)
        ours = (
            *(() if reaches else (_transfer_to_person(turn, tell),)),
            _request_callback(note_callback, turn=turn, tell=tell),
            *more,
        )
        every = (*ours, *owner_tools(agent.tools))
        self.box = Toolbox(tools=every, turn=turn, tell=tell, clock=clock, speaking=speaking)
        hand_over = (reach_person(people, turn=turn, tell=tell),) if people and reaches else ()
        self.schemas = (
            end_call(agent, turn=turn, tell=tell),
            *hand_over,
            *self.box.schemas(),
        )
        """What the model is told of each tool, with the handler that runs it."""

    def tell_late(self, late: LateResults) -> None:
        """Tell results that the caller's words cut off."""
        self.box.late = late

    async def close(self) -> None:
        """Wait a little for what is at work, and cancel what is left of it."""
        await self.box.close()


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


def reach_person(people: ReachesPeople, *, turn: Callable[[], int], tell: Tell) -> FunctionSchema:
    """Return the tool that hands the caller over to somebody out of a list of names.

    The model never sees a number: what a caller talks it into saying cannot be dialled.
    """
    properties: dict[str, Any] = {
        "destination": {"type": "string", "enum": list(people.names), "description": "Who."},
        "reason": {"type": "string", "description": "Why, in a few words."},
    }
    schema = {"type": "object", "properties": properties, "required": ["destination"]}

    async def handle(params: FunctionCallParams) -> None:
        wrong = problems(params.arguments, schema)
        outcome, result = "refused", {"error": "; ".join(wrong)}
        if not wrong:
            reason = _text(params.arguments, "reason")
            tell(PersonWanted(turn=turn(), reason=reason))
            begun = people.reach(params.arguments["destination"], reason, behind_words=True)
            outcome, result = ("ok", BEING_CONNECTED) if begun else ("failed", NOBODY_THERE)
            if people.busy:
                result = BEING_CONNECTED
        tell(ToolCalled(turn=turn(), tool="transfer_to_person", outcome=outcome, took_s=0.0))
        silent = result is BEING_CONNECTED  # what is said to the caller is said without the model
        await params.result_callback(
            result, properties=FunctionCallResultProperties(run_llm=False) if silent else None
        )

    return FunctionSchema(
        name="transfer_to_person",
        description=(
            "Connect the caller with a person, when the caller wants one or you cannot help. Say "
            "nothing in the same message: the caller is told, and you are told if it fails."
        ),
        properties=properties,
        required=["destination"],
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
