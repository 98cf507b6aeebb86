"""The model's tools, and the results that it receives."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from pipecat.frames.frames import Frame, TTSSpeakFrame
from pipecat.services.llm_service import FunctionCallParams
from pydantic import SecretStr

from bot.call.models import VoiceModels
from bot.tools.owner import BODY_LIMIT_BYTES, owner_tools
from bot.tools.toolbox import (
    RESULT_LIMIT,
    TELL_LATE,
    UNDELIVERED_S,
    LateResults,
    Tool,
    Toolbox,
    shorten,
)
from calls.events import Event, ToolCalled
from calls.resume import CUT_OFF, KeptTool
from configuration.agent import AgentSettings, ToolSettings
from tests.bot.talk import says, talking
from tests.bot.tools import owner_functions
from tests.kit.served import served

HERE = "tests.bot.tools.owner_functions"


@dataclass
class MenuChoices:
    """A toolbox and its user."""

    toolbox: Toolbox
    told: list[Event]
    pushed: list[Frame] = field(default_factory=list)
    turn: int = 1
    read: list[Any] = field(default_factory=list)  # the conversation
    calls: int = 0

    async def use(self, name: str, arguments: Any = None, *, reads: bool = True) -> dict[str, Any]:
        """Return what the model is told; if `reads`, it gets into the conversation."""
        self.calls += 1
        call_id = f"call_{self.calls}"
        results: list[dict[str, Any]] = []

        async def pushed(frame: Frame) -> None:
            self.pushed.append(frame)

        async def result(value: dict[str, Any]) -> None:
            results.append(value)

        params = SimpleNamespace(
            arguments={} if arguments is None else arguments,
            llm=SimpleNamespace(push_frame=pushed),
            result_callback=result,
            tool_call_id=call_id,
            context=SimpleNamespace(messages=self.read),
        )
        schema = next(
            function_schema
            for function_schema in self.toolbox.schemas()
            if function_schema.name == name
        )
        assert schema.handler
        await schema.handler(cast("FunctionCallParams", params))
        assert len(results) == 1
        if reads:
            self.read.append({"role": "tool", "tool_call_id": call_id, "content": "it"})
        return results[0]

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.told if isinstance(event, ToolCalled)]

    def hear_late(self, told: list[tuple[float, str]], *, quiet_at: float) -> None:
        """Keep late results and their moments; the call is quiet from then on."""

        async def emit(result: str, note: str) -> None:
            assert note == TELL_LATE  # what the tool said is in a message of its own
            told.append((time.monotonic(), result))

        async def until_quiet() -> None:
            await asyncio.sleep(max(0.0, quiet_at - time.monotonic()))

        self.toolbox.late = LateResults(until_quiet=until_quiet, ask_with=emit)

    async def use_until_cut_off(self, name: str, arguments: Any) -> None:
        """Ask, and let the caller speak before the result."""
        waiting = asyncio.ensure_future(self.use(name, arguments))
        await asyncio.sleep(0.03)
        waiting.cancel()


@asynccontextmanager
async def desk(*tools: Tool, bridge_after_s: float = 0.05) -> AsyncIterator[MenuChoices]:
    told: list[Event] = []
    toolbox = Toolbox(
        tools=tools,
        turn=lambda: made.turn,
        emit=told.append,
        clock=time.monotonic,
        bridge_after_s=bridge_after_s,
    )
    made = MenuChoices(toolbox, told)
    try:
        async with asyncio.timeout(20.0):  # a guard
            yield made
    finally:
        await toolbox.close()


def entry(name: str, **more: Any) -> Tool:
    return owner_tools([ToolSettings(entry_point=f"{HERE}:{name}", **more)])[0]


def at(url: str, **more: Any) -> Tool:
    settings = ToolSettings(name="lookup", description="Look it up.", url=url, **more)
    return owner_tools([settings])[0]


@asynccontextmanager
async def office(answer: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with served(app, shutdown_timeout=0.1) as url:
        yield url


async def test_a_functions_signature_is_its_schema() -> None:
    async with desk(entry("opening_hours")) as at_desk:
        (schema,) = at_desk.toolbox.schemas()

        assert schema.name == "opening_hours"
        assert schema.description == "Say when we are open."
        assert schema.properties == {
            "day": {"type": "string"},
            "holiday": {"type": "boolean", "default": False},
        }
        assert schema.required == ["day"]


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        ("opening_hours", {"day": "Monday"}, {"day": "Monday", "hours": "8 to 18"}),
        ("price", {"service": "check-up"}, 49.5),
        ("book", {"day": "Monday"}, "Monday is booked"),
    ],
    ids=["in a thread", "asynchronous", "asynchronous and decorated"],
)
async def test_a_function_gives_the_model_its_result(
    function: str, arguments: Mapping[str, str], result: Any
) -> None:
    async with desk(entry(function), bridge_after_s=5.0) as at_desk:
        assert await at_desk.use(function, arguments) == {"result": result}
        assert at_desk.outcomes == ["ok"]
        assert at_desk.pushed == []


@pytest.mark.parametrize("function", ["quits", "quits_in_a_thread"])
async def test_a_function_that_exits_ends_only_its_own_run(function: str) -> None:
    async with desk(entry(function, timeout_s=0.5)) as at_desk:
        assert await at_desk.use(function) == {"error": f"{function} failed (SystemExit)"}
        assert at_desk.outcomes == ["failed"]


@pytest.mark.parametrize("arguments", [{}, {"day": 5}, {"day": "Monday", "hour": 1}, [], "Monday"])
async def test_wrong_arguments_never_reach_the_tool(arguments: Any) -> None:
    async with desk(entry("opening_hours")) as at_desk:
        answer = await at_desk.use("opening_hours", arguments or [])

        assert list(answer) == ["error"]
        assert at_desk.outcomes == ["refused"]


@pytest.mark.virtual_time
async def test_a_late_tool_is_bridged_and_its_result_still_comes() -> None:
    async with desk(entry("slow", bridge="One moment.")) as at_desk:
        assert await at_desk.use("slow", {"name": "it"}) == {"result": "it done"}

        (bridge,) = at_desk.pushed
        assert isinstance(bridge, TTSSpeakFrame)
        assert bridge.text == "One moment."
        assert not bridge.append_to_context


@pytest.mark.virtual_time
@pytest.mark.parametrize("names", [("it", "him"), ("it", "it")], ids=["two", "the same twice"])
async def test_only_one_of_several_simultaneously_late_tools_is_bridged(
    names: tuple[str, str],
) -> None:
    async with desk(entry("slow", bridge="One moment.")) as at_desk:
        await asyncio.gather(*(at_desk.use("slow", {"name": name}) for name in names))
        at_once = len(at_desk.pushed)
        await at_desk.use("slow", {"name": "another"})

    assert at_once == 1
    assert len(at_desk.pushed) == 2  # it became late afterwards


async def test_a_tool_that_hangs_gives_the_model_an_error_in_time() -> None:
    async with desk(entry("hangs", timeout_s=0.1)) as at_desk:
        answer = await at_desk.use("hangs")
        owner_functions.HELD.set()

        assert "did not answer in time" in answer["error"]
        assert at_desk.outcomes == ["late"]


@pytest.mark.virtual_time
async def test_two_equal_calls_of_one_answer_are_two() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        both = await asyncio.gather(
            at_desk.use("slow", {"name": "a"}), at_desk.use("slow", {"name": "a"})
        )

    assert both == [{"result": "a done"}] * 2
    assert owner_functions.RUNS == ["a", "a"]


@pytest.mark.virtual_time
async def test_a_job_can_be_polled_in_one_turn() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        for _ in range(3):
            await at_desk.use("slow", {"name": "a"})

    assert owner_functions.RUNS == ["a", "a", "a"]


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("again", "turn", "wait_s"),
    [(1, 1, 0.0), (1, 2, 0.2), (2, 1, 0.2), (2, 2, 0.0), (3, 1, 0.0), (3, 2, 0.2)],
)
async def test_a_repeated_answer_repeats_none_of_two_equal_calls(
    again: int, turn: int, wait_s: float
) -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        await asyncio.gather(*(at_desk.use_until_cut_off("slow", {"name": "a"}) for _ in range(2)))
        await asyncio.sleep(wait_s)
        at_desk.turn = turn
        await asyncio.gather(*(at_desk.use("slow", {"name": "a"}) for _ in range(again)))

    assert len(owner_functions.RUNS) == max(2, again)


@pytest.mark.virtual_time
async def test_a_dropped_answers_result_that_nobody_read_is_used_once() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        await at_desk.use("slow", {"name": "b"})
        await at_desk.use("slow", {"name": "a"}, reads=False)
        await at_desk.use("slow", {"name": "a"})
        assert owner_functions.RUNS == ["b", "a"]
        await at_desk.use("slow", {"name": "a"})

    assert owner_functions.RUNS == ["b", "a", "a"]


@pytest.mark.virtual_time
async def test_after_a_restore_equal_calls_are_matched_one_by_one() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as first:
        await asyncio.gather(*(first.use("slow", {"name": "a"}) for _ in range(2)))
        kept = first.toolbox.kept
    assert [tool.call_id for tool in kept] == ["call_1", "call_2"]
    async with desk(entry("slow")) as second:
        second.calls = 10
        second.read.append({"role": "tool", "tool_call_id": "call_1", "content": "it"})
        second.toolbox.restore(kept)
        await second.use("slow", {"name": "a"})  # instead of the second, which was not read
        assert owner_functions.RUNS == ["a", "a"]
        await second.use("slow", {"name": "a"})

    assert owner_functions.RUNS == ["a", "a", "a"]


@pytest.mark.virtual_time
async def test_a_barge_in_does_not_cancel_a_booking() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        await at_desk.use_until_cut_off("slow", {"name": "a"})
        at_desk.turn = 2

        assert await at_desk.use("slow", {"name": "a"}) == {"result": "a done"}
        assert owner_functions.RUNS == ["a"]
        assert at_desk.outcomes == ["ok"]


EQUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"day": "Monday", "count": 2}, {"count": 2, "day": "Monday"}),
    ({"day": "Monday", "count": 2}, {"day": "Monday", "count": 2.0}),
    ({"day": "Monday"}, {"day": "Monday", "count": None}),
    ({"guests": [{"name": "Ann", "age": None}]}, {"guests": [{"name": "Ann"}]}),
]
OTHER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"day": "Monday", "count": 2}, {"day": "Monday", "count": 3}),
    ({"day": "Monday"}, {"day": "Monday", "count": 0}),
    ({"day": "Monday"}, {"day": ""}),
    ({"count": 1}, {"count": 1.5}),
]


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("first", "again", "runs"), [*((*two, 1) for two in EQUAL), *((*two, 2) for two in OTHER)]
)
async def test_a_request_that_is_repeated_in_another_form_is_not_made_twice(
    first: dict[str, Any], again: dict[str, Any], runs: int
) -> None:
    made: list[Mapping[str, Any]] = []

    async def book(arguments: Mapping[str, Any]) -> str:
        made.append(arguments)
        await asyncio.sleep(0.1)
        return "booked"

    tool = Tool(name="book", description="", parameters={"type": "object"}, run=book)
    async with desk(tool) as at_desk:
        await at_desk.use_until_cut_off("book", first)
        at_desk.turn = 2
        await at_desk.use("book", again)

    assert len(made) == runs


@pytest.mark.virtual_time
async def test_a_booking_made_while_the_caller_spoke_is_not_repeated() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        await at_desk.use_until_cut_off("slow", {"name": "a"})
        await asyncio.sleep(0.2)
        at_desk.turn = 2
        first = await at_desk.use("slow", {"name": "a"})
        at_desk.turn = 3
        await at_desk.use("slow", {"name": "a"})

    assert first == {"result": "a done"}
    assert owner_functions.RUNS == ["a", "a"]


@pytest.mark.virtual_time
async def test_an_interrupted_result_is_available_minutes_later() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        await at_desk.use_until_cut_off("slow", {"name": "a"})
        await asyncio.sleep(0.2)
        at_desk.turn = 9  # four minutes later: the caller talked about something else
        at_desk.toolbox.clock = lambda: time.monotonic() + 240.0

        assert await at_desk.use("slow", {"name": "a"}) == {"result": "a done"}
        assert owner_functions.RUNS == ["a"]


@pytest.mark.virtual_time
@pytest.mark.parametrize("cuts", [1, 3])
async def test_an_interrupted_result_is_delivered_when_neither_side_speaks(cuts: int) -> None:
    owner_functions.RUNS.clear()
    told, quiet_at = list[tuple[float, str]](), time.monotonic() + 3.0
    async with desk(entry("slow")) as at_desk:
        at_desk.hear_late(told, quiet_at=quiet_at)
        for _ in range(cuts):
            await at_desk.use_until_cut_off("slow", {"name": "a"})
        at_desk.turn = 2
        await asyncio.sleep(10.0)

        ((at, note),) = told  # once, however often it was interrupted
        assert at == pytest.approx(quiet_at)
        assert '"arguments": {"name": "a"}, "result": "a done"}' in note
        await at_desk.use("slow", {"name": "a"})  # the model does not believe it
        assert owner_functions.RUNS == ["a"]


@pytest.mark.virtual_time
async def test_a_result_that_the_model_requested_again_is_not_delivered_twice() -> None:
    told = list[tuple[float, str]]()
    async with desk(entry("slow")) as at_desk:
        at_desk.hear_late(told, quiet_at=0.0)
        await at_desk.use_until_cut_off("slow", {"name": "a"})
        at_desk.turn = 2
        await at_desk.use("slow", {"name": "a"})
        await asyncio.sleep(10.0)

    assert told == []


@pytest.mark.virtual_time
async def test_a_result_is_not_delivered_if_the_call_never_falls_quiet() -> None:
    told = list[tuple[float, str]]()
    async with desk(entry("slow")) as at_desk:
        at_desk.hear_late(told, quiet_at=time.monotonic() + 1000.0)
        await at_desk.use_until_cut_off("slow", {"name": "a"})
        await asyncio.sleep(10.0)

    assert told == []


@pytest.mark.virtual_time
async def test_a_result_that_waited_too_long_for_a_silence_is_not_delivered() -> None:
    told = list[tuple[float, str]]()
    async with desk(entry("slow")) as at_desk:
        at_desk.hear_late(told, quiet_at=time.monotonic() + 8.0)
        await at_desk.use_until_cut_off("slow", {"name": "a"})
        at_desk.toolbox.clock = lambda: time.monotonic() + UNDELIVERED_S - 5.0
        await asyncio.sleep(10.0)

    assert told == []


@pytest.mark.virtual_time
async def test_no_bridge_is_spoken_while_the_agent_speaks_anyway() -> None:
    async with desk(entry("slow", bridge="One moment.")) as at_desk:
        at_desk.toolbox.speaking = lambda: True
        await at_desk.use("slow", {"name": "it"})

        assert at_desk.pushed == []


async def test_a_result_is_cut_to_the_models_limit() -> None:
    async with desk(entry("long_answer")) as at_desk:
        answer = await at_desk.use("long_answer")

        assert RESULT_LIMIT < len(answer["result"]) < RESULT_LIMIT + 10


class Counted:
    """Counts how often an item of it is written."""

    written = 0

    def __str__(self) -> str:
        Counted.written += 1
        return "one of very many"


def test_only_the_part_of_a_result_that_a_model_reads_is_serialised() -> None:
    """The rest would block the loop for all calls: 34 ms for a megabyte."""
    shortened = shorten([{"at": [Counted()]} for _ in range(50_000)])

    assert RESULT_LIMIT < len(shortened) < RESULT_LIMIT + 10
    assert Counted.written < RESULT_LIMIT


def test_a_long_text_is_cut_before_it_is_written() -> None:
    shortened = shorten({"text": "ä" * 5_000_000})

    assert shortened.startswith('{"text": "ää')
    assert RESULT_LIMIT < len(shortened) < RESULT_LIMIT + 10


@pytest.mark.parametrize(
    "result", [None, True, 1.5, "a", ["a", {"b": 2}], {"c": [1, None]}, {3: "d"}], ids=repr
)
def test_a_short_result_is_plain_json(result: object) -> None:
    assert shorten(result) == json.loads(json.dumps(result))


def test_a_long_text_is_not_encoded_whole() -> None:
    text, began = "\0" * 30_000_000, time.process_time()
    shortened = shorten(text)
    assert time.process_time() - began < 0.2
    assert RESULT_LIMIT < len(shortened) < RESULT_LIMIT + 10


async def test_half_a_surrogate_in_a_result_is_not_sent_to_a_model() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"Ada \ud83d": ["9:00 \ud83d", "\u00e4 \U0001f600"]})

    async with office(answer) as url, desk(at(url)) as at_desk:
        told = await at_desk.use("lookup")

    assert told == {"result": {"Ada ": ["9:00 ", "\u00e4 \U0001f600"]}}
    assert json.dumps(told, ensure_ascii=False).encode()  # as Pipecat and the SDK do


@pytest.mark.parametrize("name", ["nothing_here", "NOT_A_FUNCTION"])
def test_an_entry_point_that_is_no_function_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match=f"{HERE}:{name}"):
        entry(name)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("tests.bot.tools.raising_module:x", "cannot be loaded: KeyError: 'CRM_URL'"),
        ("tests.bot.tools.exiting_module:x", "cannot be loaded: SystemExit: CRM_URL is not set"),
        (
            f"{HERE}:named_nowhere",
            "`amount`, whose type cannot be read (NameError: name 'Decimal' is not defined); import"
            " it also at run time, or give its `parameters`",
        ),
    ],
)
def test_an_owners_module_that_fails_is_named(place: str, said: str) -> None:
    with pytest.raises(ValueError, match=place) as refused:
        owner_tools([ToolSettings(entry_point=place)])

    assert said in str(refused.value)


async def test_an_http_tool_sends_its_arguments_and_its_secret() -> None:
    seen: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update(path=request.path, auth=request.headers["Authorization"])
        seen.update(body=await request.json())
        return web.json_response({"free": ["9:00"]})

    secret = SecretStr("s3cret")
    async with office(answer) as url, desk(at(f"{url}/slots", secret=secret)) as at_desk:
        assert await at_desk.use("lookup", {"day": "Monday"}) == {"result": {"free": ["9:00"]}}

    assert seen == {"path": "/slots", "auth": "Bearer s3cret", "body": {"day": "Monday"}}


async def test_a_get_request_has_its_arguments_in_the_address() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(dict(request.query))

    async with office(answer) as url, desk(at(url, method="GET")) as at_desk:
        answered = await at_desk.use("lookup", {"day": "Monday & Tuesday", "n": 2, "all": True})

    assert answered == {"result": {"day": "Monday & Tuesday", "n": "2", "all": "true"}}


async def test_a_redirect_is_not_followed() -> None:
    followed: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with office(answer) as url, desk(at(f"{url}/start")) as at_desk:
        answered = await at_desk.use("lookup")

    assert "redirect" in answered["error"]
    assert followed == ["/start"]


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(10_000):
                await response.write(b"x" * 10_000)
                sent.append(10_000)
        except ConnectionError:
            pass
        return response

    async with office(answer) as url, desk(at(url)) as at_desk:
        answered = await at_desk.use("lookup")

    assert answered == {"error": "the answer is too long to be read"}
    assert sum(sent) < 100 * BODY_LIMIT_BYTES


async def test_an_http_error_is_reported_to_the_model() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=404, text="no such day")

    async with office(answer) as url, desk(at(url)) as at_desk:
        answered = await at_desk.use("lookup")

    assert "answered 404" in answered["error"]
    assert "no such day" in answered["error"]


async def test_a_refused_connection_is_reported_to_the_model() -> None:
    async with desk(at("http://127.0.0.1:9/")) as at_desk:
        assert await at_desk.use("lookup") == {"error": "lookup cannot be reached"}


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(3.0)
        return web.Response()

    async with office(answer) as url, desk(at(url, timeout_s=0.1)) as at_desk:
        answered = await at_desk.use("lookup")

    assert "did not answer in time" in answered["error"]


@pytest.mark.virtual_time
async def test_work_of_a_tool_at_the_calls_end_is_completed() -> None:
    owner_functions.RUNS.clear()
    async with desk(entry("slow")) as at_desk:
        waiting = asyncio.ensure_future(at_desk.use("slow", {"name": "a"}))
        await asyncio.sleep(0.03)
        await at_desk.toolbox.close()

        assert await waiting == {"result": "a done"}
        assert at_desk.outcomes == ["ok"]


@pytest.mark.virtual_time
async def test_closing_the_toolbox_leaves_no_task_running() -> None:
    async def forever(_arguments: Mapping[str, Any]) -> None:
        await asyncio.sleep(60.0)

    tool = Tool(
        name="f", description="", parameters={"type": "object"}, run=forever, timeout_s=60.0
    )
    async with desk(tool) as at_desk:
        waiting = asyncio.ensure_future(at_desk.use("f"))
        await asyncio.sleep(0.02)
        await at_desk.toolbox.close()

        assert await waiting == {"error": "it was stopped"}


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    return VoiceModels.load()


async def test_a_call_with_an_owners_tool_gets_its_answer(models: VoiceModels) -> None:
    tool = ToolSettings(entry_point=f"{HERE}:opening_hours")
    use = says("Let me see.", calls=[("opening_hours", {"day": "Monday"})])
    async with talking(AgentSettings(tools=(tool,)), use, says("From 8."), models=models) as talk:
        await talk.say("When are you open on Monday?")
        await talk.until(lambda: talk.remembered("assistant")[-1:] == ["From 8."])

    asked = talk.model.requests[1]["messages"]
    assert "8 to 18" in next(request["content"] for request in asked if request["role"] == "tool")
    assert talk.voice.said == ["Let me see.", "From 8."]


@pytest.mark.parametrize(
    ("words", "use"),
    [((), ("slow", {"name": "a"})), (("Goodbye.",), ("opening_hours", {"day": "Monday"}))],
    ids=["late, told by the tool", "at once, said"],
)
async def test_a_result_after_the_goodbye_starts_no_speech(
    words: tuple[str, ...], use: tuple[str, dict[str, str]], models: VoiceModels
) -> None:
    tool = ToolSettings(entry_point=f"{HERE}:{use[0]}")
    last = says(*words, calls=[use, ("end_call", {"goodbye": "Goodbye."})])
    async with talking(AgentSettings(tools=(tool,)), last, says("Done."), models=models) as talk:
        await talk.say("Do that, and goodbye.")
        await talk.finished.wait()

    assert talk.voice.said == ["Goodbye."]
    assert len(talk.model.requests) == 1


@pytest.mark.parametrize(
    ("goodbye", "said"),
    [
        ("*smiles* **Goodbye**, Anna! \U0001f44b", "Goodbye, Anna!"),
        ("<think>They are done.</think>", "Bye for now."),
    ],
)
async def test_a_goodbye_in_a_tool_call_is_cleaned_before_it_is_spoken(
    goodbye: str, said: str, models: VoiceModels
) -> None:
    agent = AgentSettings(farewell="Bye for now.")
    last = says(calls=[("end_call", {"goodbye": goodbye})])
    async with talking(agent, last, models=models) as talk:
        await talk.say("Thanks, and goodbye.")
        await talk.finished.wait()

    assert talk.voice.said == [said]


async def test_a_result_of_another_process_is_not_repeated() -> None:
    done: list[Any] = []

    async def book(arguments: Mapping[str, Any]) -> str:
        done.append(arguments)
        return "booked"

    tool = Tool(name="book", description="", parameters={"type": "object"}, run=book)
    async with desk(tool) as first:
        assert await first.use("book", {"day": "Monday"}) == {"result": "booked"}
        (kept,) = first.toolbox.kept
    async with desk(tool) as second:
        cut_off = KeptTool(key='book {"day": "Sunday"}', turn=1)
        second.toolbox.restore([kept, cut_off])
        assert await second.use("book", {"day": "Monday"}) == {"result": "booked"}
        assert await second.use("book", {"day": "Sunday"}) == CUT_OFF
        told = replace(cut_off, delivered=True, call_id="call_2")
        assert second.toolbox.kept == [kept, told]
        second.turn = 2
        assert await second.use("book", {"day": "Sunday"}) == CUT_OFF  # who asks, and when
        assert await second.use("book", {"day": "Monday"}) == {"result": "booked"}

    assert done == [{"day": "Monday"}] * 2  # once by each: it was asked for in another turn


@pytest.mark.parametrize("ours", [True, False])
async def test_a_tools_start_is_stored_before_it_runs_unless_the_call_moved(*, ours: bool) -> None:
    order: list[str] = []

    async def run(_: Mapping[str, Any]) -> str:
        order.append("run")
        return ""

    async def keep() -> bool:
        order.append(f"kept {[tool.key for tool in it.toolbox.kept]}")
        return ours

    async with desk(Tool(name="a", description="", parameters={}, run=run)) as it:
        it.toolbox.before_each = keep
        await it.use("a")

    assert order == ["kept ['a {}']", *(["run"] if ours else [])]
