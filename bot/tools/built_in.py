"""Holdline's own tools: end the call, ask for a person or a callback, open a sensitive section."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import FunctionCallResultProperties
from pipecat.services.llm_service import FunctionCallParams

from bot.tools.caller_requests import Unkept
from bot.tools.owner import owner_tools
from bot.tools.tool_words import ANSWERS, described
from bot.tools.toolbox import LateResults, Tool, Toolbox, ToolFailed
from calls.caller import clean
from calls.entry import Emit
from calls.events import CallbackWanted, PersonWanted, ToolCalled
from calls.tool_schema import problems
from configuration.agent import AgentSettings, CallFact
from operations.stored_words import StoredWords
from processors.answering.spoken_text_rules import SpokenTextRule, spoken_goodbye
from processors.holding.farewell import PartFrame
from runtime.clock import Clock

REASON_LIMIT: Final = 200  # characters of a model's text in an event
WHEN_LIMIT: Final = 80  # with the reason, as much as a callback's row can hold


class KeepsCallbacks(Protocol):
    """Stores requests for a callback."""

    def callback_number(self, said: str = "") -> str | Unkept:
        """Return the number to call, or why there is none; `said` is the number the caller named.

        Without `said`, it is the number that the caller calls from.
        """
        ...

    async def note_callback(self, reason: str, said: str = "") -> Unkept | None:
        """Store a request; return `None` once it is stored, or why it is not."""
        ...


BEING_CONNECTED: Final = {"result": ANSWERS["connected"]}
NOBODY_THERE: Final = {"result": ANSWERS["nobody_there"]}


class ReachesPeople(Protocol):
    """Transfers the caller to a configured destination."""

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations that this line can reach, between which the model may choose."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the caller waits for a person or talks with one."""
        ...

    def reach(self, name: str, reason: str, *, words_first: bool = False) -> bool:
        """Begin a transfer; return False if it is impossible now."""
        ...


class Tools:
    """The tools of one call: Holdline's and the owner's. `close` them with the call.

    Args:
        agent: The agent of the call.
        callbacks: Records requests for a callback.
        turn: Returns the number of the current turn.
        emit: Takes an event for each tool call.
        clock: Measures how long tool calls take.
        speaking: Returns whether the agent is heard now, so that no bridge is needed.
        people: Transfers callers; `None` if the call has no transfer.
        more: Further tools of this call.
        late: Delivers results that come after the caller has interrupted the wait for them.
        facts: The facts of the call, for the owner's tools.
        verified: Called when a tool has verified the caller.
        words: Keeps the call's sensitive section; `None` if it has none.
    """

    def __init__(
        self,
        agent: AgentSettings,
        *,
        callbacks: KeepsCallbacks,
        turn: Callable[[], int],
        emit: Emit,
        clock: Clock,
        speaking: Callable[[], bool] = lambda: False,
        people: ReachesPeople | None = None,
        more: Sequence[Tool] = (),
        late: LateResults | None = None,
        facts: Mapping[CallFact, str] | None = None,
        verified: Callable[[], None] = lambda: None,
        words: StoredWords | None = None,
    ) -> None:
        """Collect the tools that this call may use, and their schemas; run none."""
        can_transfer = people is not None and bool(people.names)
        tools = () if can_transfer else (_no_transfer_tool(turn, emit),)
        tools += (_callback_tool(callbacks, turn=turn, emit=emit), *more)
        tools += owner_tools(agent.tools, facts)
        self.box = Toolbox(
            tools=tools,
            turn=turn,
            emit=emit,
            clock=clock,
            speaking=speaking,
            late=late,
            verified=verified,
            words=words,
        )
        direct = [_end_call_tool(agent, turn=turn, emit=emit)]
        direct += [_transfer_tool(people, turn=turn, emit=emit)] if people and can_transfer else []
        self.schemas = (*direct, *self.box.schemas())
        """The schemas for the model, each with the handler that runs the tool."""

    async def close(self) -> None:
        """Wait briefly for running tools, and cancel the rest."""
        await self.box.close()


def _end_call_tool(agent: AgentSettings, *, turn: Callable[[], int], emit: Emit) -> FunctionSchema:
    """Return the tool that hangs up after a goodbye: the model's, or else the agent's.

    The model is not asked about the result.
    """
    rule = SpokenTextRule(**agent.spoken_text.model_dump())

    async def handle(params: FunctionCallParams) -> None:
        """Emit the tool call and queue the goodbye behind the answer; the model writes no more."""
        arguments = params.arguments if isinstance(params.arguments, Mapping) else {}
        goodbye = clean(spoken_goodbye(str(arguments.get("goodbye") or ""), rule), REASON_LIMIT)
        emit(ToolCalled(turn=turn(), tool="end_call", outcome="ok", took_s=0.0))
        # Downstream, behind the words of the answer, so that `Farewell` sees those words first.
        await params.llm.push_frame(PartFrame(words=goodbye or agent.farewell))
        await params.result_callback(
            {"result": "the call ends after the goodbye"},
            properties=FunctionCallResultProperties(run_llm=False),
        )

    return _function_schema(described("end_call"), handle)


def _transfer_tool(people: ReachesPeople, *, turn: Callable[[], int], emit: Emit) -> FunctionSchema:
    """Return the tool that transfers the caller to one of the named destinations.

    The model never sees a number, so that no caller can talk it into dialling another one. It is
    not asked about a transfer that has begun, because that speaks to the caller itself.
    """
    words = described("transfer_to_person")
    schema = words["parameters"]
    schema["properties"]["destination"]["enum"] = list(people.names)

    async def handle(params: FunctionCallParams) -> None:
        """Begin a transfer; the model writes on only if none begins or an argument is wrong."""
        wrong = problems(params.arguments, schema)
        outcome, result = "refused", {"error": "; ".join(wrong)}
        if not wrong:
            reason = _cleaned_argument(params.arguments, "reason")
            emit(PersonWanted(turn=turn(), reason=reason))
            begun = people.reach(params.arguments["destination"], reason, words_first=True)
            outcome, result = ("ok", BEING_CONNECTED) if begun else ("failed", NOBODY_THERE)
            if people.busy:
                result = BEING_CONNECTED
        emit(ToolCalled(turn=turn(), tool="transfer_to_person", outcome=outcome, took_s=0.0))
        silent = result is BEING_CONNECTED  # the transfer itself tells the caller
        await params.result_callback(
            result, properties=FunctionCallResultProperties(run_llm=False) if silent else None
        )

    return _function_schema(words, handle)


def _no_transfer_tool(turn: Callable[[], int], emit: Emit) -> Tool:
    """Return the tool for lines that cannot transfer: it only reports that a person was wanted."""

    async def run(arguments: Mapping[str, Any]) -> str:
        emit(PersonWanted(turn=turn(), reason=_cleaned_argument(arguments, "reason")))
        return "Nobody can be connected on this line: tell the caller so, and offer a callback."

    return Tool(**described("transfer_to_person", can_transfer=False), run=run)


def _callback_tool(callbacks: KeepsCallbacks, *, turn: Callable[[], int], emit: Emit) -> Tool:
    """Return the tool that stores a callback, once the caller has confirmed the number.

    A caller ID may be forged, and a spoken number misheard. So the first use only returns the
    number to read out. A later use with `confirmed` stores the callback, if the caller has spoken
    in between.
    """
    # By number: the turn in which the model was asked to read it out.
    asked_in_turn: dict[str, int] = {}

    async def run(arguments: Mapping[str, Any]) -> str:
        """Have the number confirmed first; note the callback when a later turn has done so."""
        said = _cleaned_argument(arguments, "number", WHEN_LIMIT)
        number = callbacks.callback_number(said)
        if isinstance(number, Unkept):
            raise ToolFailed(ANSWERS[f"unkept_{number}"])
        confirmed = (
            arguments.get("confirmed") is True and asked_in_turn.get(number, turn()) < turn()
        )
        if not confirmed:
            asked_in_turn[number] = turn()
            return ANSWERS["confirm"].format(number=" ".join(number))
        when, reason = (
            _cleaned_argument(arguments, "when", WHEN_LIMIT),
            _cleaned_argument(arguments, "reason"),
        )
        about = "; ".join(filter(None, [reason, when and f"when: {when}"]))
        unkept = await callbacks.note_callback(about, said)
        if unkept is not None:
            raise ToolFailed(ANSWERS[f"unkept_{unkept}"])
        emit(CallbackWanted(turn=turn(), when=when, reason=reason))
        return "The callback is noted for the staff. Confirm it to the caller."

    return Tool(**described("request_callback"), run=run)


def sensitive_tools(max_s: float) -> tuple[Tool, ...]:
    """Return the model's tools to begin and end a sensitive section of at most `max_s` seconds.

    They only answer: `Toolbox` begins and ends the section.
    """

    async def begin(_: Mapping[str, Any]) -> str:
        return f"Nothing is recorded or stored now, for at most {max_s:g} seconds. Go on."

    async def end(_: Mapping[str, Any]) -> str:
        return "The call is recorded and stored again after your answer."

    return (
        Tool(**described("begin_sensitive"), run=begin, sensitive="begin"),
        Tool(**described("end_sensitive"), run=end, sensitive="end"),
    )


def _function_schema(words: Mapping[str, Any], handler: Any) -> FunctionSchema:
    """Return a tool's schema for Pipecat, with the handler that Pipecat calls."""
    parameters = words["parameters"]
    return FunctionSchema(
        name=words["name"],
        description=words["description"],
        properties=parameters["properties"],
        required=parameters["required"],
        handler=handler,
    )


def _cleaned_argument(arguments: Mapping[str, Any], name: str, limit: int = REASON_LIMIT) -> str:
    return clean(str(arguments.get(name, "")), limit)
