"""An owner's Python functions as tools: their schema, their arguments, and their mistakes."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from bot.tools.owner import made_tools, owner_tools
from bot.tools.toolbox import Tool
from configuration.agent import AgentSettings, ToolSettings
from operations.telemetry import logs
from tests.bot.tools import typed_functions
from tests.bot.tools.test_toolbox import desk
from tests.bot.tools.typed_functions import Address, Size

HERE = typed_functions.__name__
ORDER = {"size": "small", "crust": "thin", "toppings": ["ham"], "day": "2026-05-03"}


def read_logs(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.rglob("*.log"))


def entry(name: str, **more: Any) -> Tool:
    return owner_tools([ToolSettings(entry_point=f"{HERE}:{name}", **more)])[0]


def test_a_schema_has_the_types_and_the_descriptions_of_the_function() -> None:
    tool = entry("order")
    properties = tool.parameters["properties"]

    assert tool.description == "Order a pizza for a guest."
    assert properties["size"] == {
        "type": "string",
        "enum": ["small", "large"],
        "description": "How large it is.",
    }
    assert properties["crust"] == {
        "type": "string",
        "enum": ["thin", "thick"],
        "description": "What lies below.",
    }
    assert properties["toppings"] == {"type": "array", "items": {"type": "string"}}
    assert properties["count"] == {"type": "integer", "default": 1, "description": "How many."}
    assert properties["note"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert properties["phone"]["description"] == "Where we call."
    assert properties["address"]["anyOf"][0]["properties"]["street"] == {"type": "string"}
    assert "connection" not in properties
    assert tool.parameters["required"] == ["size", "crust", "toppings", "day"]


@pytest.mark.parametrize("name", ["order", "one_crust", "invite"])
def test_a_schema_uses_only_what_all_providers_accept(name: str) -> None:
    text = json.dumps(entry(name).parameters)

    assert not [word for word in ("$ref", "$defs", '"const"', '"title"', "oneOf") if word in text]
    assert '"type": "array"' not in text.replace('"items"', "") or '"items"' in text


async def test_arguments_come_in_the_types_of_the_function() -> None:
    typed_functions.GOT.clear()
    async with desk(entry("order")) as at_desk:
        more = {"count": "2", "note": None, "address": {"street": "Elm"}}
        assert await at_desk.use("order", {**ORDER, **more}) == {"result": "ordered"}

    (got,) = typed_functions.GOT
    assert got == (
        *(Size.SMALL, "thin", ["ham"], date(2026, 5, 3), 2),
        *(None, "", Address("Elm", 1)),
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"size": "huge"}, "arguments.size: Input should be 'small' or 'large'"),
        ({"crust": "soft"}, "arguments.crust: Input should be 'thin' or 'thick'"),
        ({"toppings": "ham"}, "arguments.toppings: Input should be a valid array"),
        ({"toppings": [1]}, "arguments.toppings.0: Input should be a valid string"),
        ({"count": "many"}, "arguments.count: Input should be a valid integer"),
        ({"day": "tomorrow"}, "arguments.day: Input should be a valid date"),
        ({"phone": "1" * 21}, "arguments.phone: String should have at most 20 characters"),
        ({"address": {"number": 2}}, "arguments.address.street is missing"),
        ({"tip": 1}, "arguments.tip is not known"),
    ],
)
async def test_wrong_arguments_are_told_in_one_line_and_the_function_does_not_run(
    changed: dict[str, Any], told: str
) -> None:
    typed_functions.GOT.clear()
    async with desk(entry("order")) as at_desk:
        answer = await at_desk.use("order", {**ORDER, **changed})

        assert told in answer["error"]
        assert "\n" not in answer["error"]
        assert at_desk.outcomes == ["refused"]
    assert typed_functions.GOT == []


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("desk.price", {"service": "cut"}, "cut costs 5"),
        ("desk", {"service": "cut"}, "cut is free"),
        ("price_of", {}, "cut costs 5"),
        ("price_later", {"count": 2}, "2 large"),
        ("double", {"count": 2}, 4),
        ("submitted", {"count": 2}, 4),
        ("order_later", {"count": "3", "size": "large"}, "3 large"),
        ("invite", {"guest": {"name": "Ann", "friends": [{"name": "Bo"}]}}, "Ann"),
    ],
)
async def test_whatever_can_be_called_is_a_tool(
    name: str, arguments: dict[str, Any], told: Any
) -> None:
    tool = entry(name)
    async with desk(tool) as at_desk:
        assert tool.name == name.rpartition(".")[2]
        assert set(tool.parameters["properties"]) == set(arguments) | (
            {"size"} if name == "order_later" else set()
        )
        assert await at_desk.use(tool.name, arguments) == {"result": told}


@pytest.mark.parametrize("name", ["for_checkers", "decorated_for_checkers"])
async def test_types_for_type_checkers_alone_are_needed_only_in_required_parameters(
    name: str,
) -> None:
    typed_functions.GOT.clear()
    tool = entry(name)
    async with desk(tool) as at_desk:
        arguments = {"guests": [{"name": "Ann"}]}
        assert list(tool.parameters["properties"]) == ["guests"]
        assert await at_desk.use(name, arguments) == {"result": None}

    (got,) = typed_functions.GOT
    assert got == ([typed_functions.Guest(name="Ann")], ())


async def test_an_entry_point_is_looked_up_once_and_not_in_every_call() -> None:
    typed_functions.Shop.looked_up = 0
    for count in (1, 2):
        async with desk(entry("shop.order")) as at_desk:
            assert await at_desk.use("order", {"count": count}) == {"result": count}

    assert typed_functions.Shop.looked_up == 1


@pytest.mark.parametrize("name", ["others", "hidden"])
async def test_a_function_that_takes_any_names_gets_those_of_the_settings(name: str) -> None:
    properties = {"count": {"type": "integer"}}
    tool = entry(name, parameters={"type": "object", "properties": properties})
    async with desk(tool) as at_desk:
        told = {"others": {"count": 2}, "hidden": 2}[name]
        assert await at_desk.use(name, {"count": 2}) == {"result": told}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("dataclass", {"street": "Elm", "number": 1}),
        ("model", [{"name": "Ann", "friends": []}]),
        ("enum", {"size": "small"}),
        ("set", [5]),
        ("generator", [0, 2, 4]),
        ("row", [{"a": 1, "b": "x"}]),
        ("tuples as keys", "{('Elm', 1): 'free'}"),
        ("itself", "[[[[...]]]]"),
        ("no number", "[nan]"),
        ("a huge number", "a number of 16610 bits"),
    ],
)
async def test_a_result_that_json_cannot_express_is_told_by_its_content(
    kind: str, told: Any
) -> None:
    async with desk(entry("gives")) as at_desk:
        assert await at_desk.use("gives", {"kind": kind}) == {"result": told}


@pytest.mark.parametrize("name", ["forgets_to_await", "forgets_it_in_a_thread"])
async def test_what_a_function_forgot_to_await_is_awaited(name: str) -> None:
    async with desk(entry(name)) as at_desk:
        assert await at_desk.use(name, {"kind": "a coroutine"}) == {"result": "2 small"}
        assert await at_desk.use(name, {"kind": "a generator"}) == {"result": [1, 2]}


async def test_what_gives_itself_when_awaited_does_not_block_other_tools() -> None:
    async with desk(entry("forgets_to_await")) as at_desk:
        told = await at_desk.use("forgets_to_await", {"kind": "itself"})
        assert told == {"result": "a pipeline"}


async def test_a_result_without_a_text_is_no_failure() -> None:
    async with desk(entry("gives")) as at_desk:
        told = await at_desk.use("gives", {"kind": "no text"})
    assert "Unspeakable" in told["result"]


def test_a_text_next_to_a_type_describes_a_parameter() -> None:
    properties = entry("visit").parameters["properties"]
    assert properties["day"]["description"] == "The day of the visit."
    assert properties["note"]["description"] == "What else."


@pytest.mark.parametrize(
    ("name", "described"),
    [("desk", "Says prices."), ("price_of", "Say a price."), ("ordered", "ordered")],
)
def test_a_callable_object_is_described_by_its_own_docstring(name: str, described: str) -> None:
    assert entry(name).description == described


async def test_a_null_stands_for_the_default() -> None:
    async with desk(entry("visit")) as at_desk:
        arguments: dict[str, Any] = {"day": "Monday", "guests": None, "note": None}
        assert await at_desk.use("visit", arguments) == {"result": "Monday 2 -"}
        told = await at_desk.use("visit", {"day": None, "guests": 3})
        assert told == {"error": "arguments.day is missing"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"table": None, "guests": 4}, {"result": "None 4"}),
        ({"table": None, "guests": None}, {"result": "None 2"}),
        ({"table": 7, "guests": None}, {"result": "7 2"}),
        ({"guests": None}, {"error": "arguments.table is missing"}),
    ],
)
async def test_a_null_that_the_type_allows_is_a_value(
    arguments: dict[str, Any], told: dict[str, Any]
) -> None:
    async with desk(entry("seat")) as at_desk:
        assert await at_desk.use("seat", arguments) == told


async def test_a_valid_null_is_not_told_as_missing_next_to_a_wrong_argument() -> None:
    async with desk(entry("seat")) as at_desk:
        answer = await at_desk.use("seat", {"table": None, "guests": "many"})

    assert "arguments.guests: Input should be a valid integer" in answer["error"]
    assert "table" not in answer["error"]


def test_a_numpy_docstring_describes_a_parameter() -> None:
    assert entry("desk.price").parameters["properties"]["service"]["description"] == "What is done."


async def test_a_module_that_removes_the_logs_outputs_writes_to_our_log(tmp_path: Path) -> None:
    logs.set_up(level="INFO", folder=tmp_path)
    place = "tests.bot.tools.log_removing_module:noted"
    async with desk(*owner_tools([ToolSettings(entry_point=place)])) as at_desk:
        assert await at_desk.use("noted") == {"result": "done"}
    await logger.complete()
    logger.remove()

    assert "noted" in read_logs(tmp_path)


MUCH = {"type": "object", "properties": {"much": {}}}

CURES = [
    ([{"entry_point": f"{HERE}:PriceList"}], "is a class; name a function, or an object"),
    (
        [{"entry_point": f"{HERE}:PriceList.price"}],
        "a method of a class; name a method of an object",
    ),
    ([{"entry_point": f"{HERE}:yields"}], "is a generator; let it return a list"),
    ([{"entry_point": f"{HERE}:dispatched"}], "needs an argument without a name; name a function"),
    ([{"entry_point": f"{HERE}:dispatching.price"}], "needs an argument without a name"),
    ([{"entry_point": f"{HERE}:unnamed"}], "got an unexpected keyword argument 'of'; list"),
    (
        [{"entry_point": f"{HERE}:double", "parameters": MUCH}],
        "cannot be called with its `parameters`: missing a required argument",
    ),
    ([{"entry_point": f"{HERE}:needs_connection"}], "`connection`, whose type has no JSON schema"),
    ([{"entry_point": f"{HERE}:positional"}], "remove the `/`"),
    ([{"entry_point": f"{HERE}:unpacked"}], "has `**named` with a type; name its parameters"),
    ([{"entry_point": f"{HERE}:hidden"}], "add `functools.wraps` to its decorator, or give its"),
    ([{"entry_point": f"{HERE}:prüfe"}], "'prüfe', which models' providers reject; give it a"),
    ([{"entry_point": f"{HERE}:double", "name": "end_call"}], "'end_call' like a tool of Holdline"),
    ([{"entry_point": f"{HERE}:double"}] * 2, "'double' like a tool before it; give one another"),
    (
        [
            {"entry_point": f"{HERE}:double", "name": "find"},
            {"name": "find", "description": "Find.", "url": "https://x.example.com"},
        ],
        "'find' like a tool before it; give one another",
    ),
    (
        [{"name": "transfer_to_person", "description": "T", "url": "https://x.example.com"}],
        "'transfer_to_person' like a tool of Holdline; give it another `name`",
    ),
]


@pytest.mark.parametrize(("tools", "told"), CURES)
def test_a_tool_that_cannot_be_used_is_told_in_one_line_with_the_cure(
    tools: list[dict[str, Any]], told: str
) -> None:
    agent = AgentSettings.model_validate({"tools": tools})
    found = [made for _, made in made_tools(agent.tools, {}) if isinstance(made, str)]

    assert len(found) == 1
    assert told in found[0]
    with pytest.raises(ValueError, match="tools: ") as refused:
        owner_tools(agent.tools)
    assert found[0] in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("raises", "LookupError", "no order for"),
        ("raises_later", "ValueError", "Invalid isoformat string: 'no date'"),
        ("raises_unspeakably", "Unspeakable", "its text raises RuntimeError"),
        ("raises_unusually", "RuntimeError", "stopped from inside by Unusual"),
        ("raises_unusually_later", "RuntimeError", "by Unusual"),
        ("raises_stop_iteration", "RuntimeError", "by StopIteration"),
        ("raises_stop_iteration_later", "RuntimeError", "by StopIteration"),
        ("raises_from_stop_iteration", "RuntimeError", "no free table"),
        ("raises_timeout", "TimeoutError", "the database is slow"),
    ],
)
async def test_a_tool_that_raises_is_told_with_its_place_and_its_traceback(
    tmp_path: Path, name: str, kind: str, message: str
) -> None:
    logs.set_up(level="INFO", folder=tmp_path)
    async with desk(entry(name)) as at_desk:
        assert await at_desk.use(name) == {"error": f"{name} failed ({kind})"}
        assert at_desk.outcomes == ["failed"]
    await logger.complete()
    logger.remove()

    text = read_logs(tmp_path)
    (line,) = [item for item in text.splitlines() if "WARNING" in item]
    assert f"the tool {name} raised {kind}: " in line
    assert message in line
    assert f"in {name} ({typed_functions.__file__}:" in line
    assert "+15550142" not in text
    assert len(line) < 1_000
    assert "Traceback" in text
