"""Facts of the call for tools: from the line, never from the model."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from bot.tools.owner import call_facts, owner_tools
from bot.tools.toolbox import Tool
from configuration.agent import AgentSettings, CallFact, ToolSettings
from tests.bot.tools import owner_functions
from tests.bot.tools.test_toolbox import desk, office
from transports.leg import LegFacts

SPOOFED, CALLER, WITHHELD = "+15550666", "+15550142", "+266696687"
KEY = b"a key of thirty-two bytes exactly"
SECRET = SecretStr("whsec_" + base64.b64encode(KEY).decode())
LEG = LegFacts(
    transport="twilio",
    sample_rate_hz=8000,
    caller=CALLER,
    called="+15550100",
    call_ref="CA1",
    attestation="A",
)
FACTS = call_facts("c1", LEG)
SCHEMA = {
    "type": "object",
    "properties": {"phone": {"type": "string"}, "order": {"type": "string"}},
    "required": ["phone", "order"],
}
HERE = owner_functions.__name__
WITH_BODY, BODILESS = ("POST", "PUT", "PATCH"), ("GET", "DELETE")
Facts = Mapping[CallFact, str]


def http(
    method: str, url: str = "https://x.example.com", facts: Facts = FACTS, **more: Any
) -> Tool:
    plain = {"name": "find", "description": "Find.", "parameters": SCHEMA}
    settings = ToolSettings.model_validate({**plain, "url": url, "method": method, **more})
    return owner_tools([settings], facts)[0]


def function(name: str, facts: Facts = FACTS, **more: Any) -> Tool:
    return owner_tools([ToolSettings(entry_point=f"{HERE}:{name}", **more)], facts)[0]


def test_every_fact_of_a_call_can_be_bound() -> None:
    assert set(FACTS) == set(get_args(CallFact))
    assert FACTS["number"] == FACTS["caller"] == CALLER
    assert (FACTS["call_id"], FACTS["call_ref"], FACTS["attestation"]) == ("c1", "CA1", "A")


@pytest.mark.parametrize("name", ["whose", "whose_later", "whose_decorated", "whose_or_any"])
async def test_a_functions_bound_parameter_comes_from_the_line_and_not_from_the_model(
    name: str,
) -> None:
    tool = function(name, bound={"phone": "number"})

    assert set(tool.parameters["properties"]) == {"order"}
    assert "phone" not in tool.parameters["required"]
    assert await tool.run({"order": "7", "phone": SPOOFED}) == [CALLER, "7"]


@pytest.mark.parametrize("method", [*WITH_BODY, *BODILESS])
async def test_a_requests_bound_parameter_comes_from_the_line_and_not_from_the_model(
    method: str,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        asked = dict(request.query) if method in BODILESS else await request.json()
        return web.json_response([asked, json.loads(request.headers["Holdline-Call"])])

    async with office(answer) as url:
        tool = http(method, url, bound={"phone": "number"})
        found = await tool.run({"order": "7", "phone": SPOOFED})

    assert set(tool.parameters["properties"]) == {"order"}
    assert found == [{"order": "7", "phone": CALLER}, FACTS]


@pytest.mark.virtual_time
async def test_a_bound_number_is_that_of_the_line_whether_the_model_passes_one_or_not() -> None:
    tool = function("whose", parameters=SCHEMA, bound={"phone": "number"})
    async with desk(tool) as at_desk:
        for said in ({"phone": SPOOFED}, {}):
            asked = {"order": "7"} | said
            assert await at_desk.use("whose", asked) == {"result": [CALLER, "7"]}
        assert at_desk.outcomes == ["ok", "ok"]


@pytest.mark.virtual_time
async def test_a_tool_that_needs_a_withheld_number_is_not_run() -> None:
    facts = call_facts("c1", LegFacts(transport="twilio", sample_rate_hz=8000, caller=WITHHELD))
    async with desk(function("whose", facts, bound={"phone": "number"})) as at_desk:
        assert await at_desk.use("whose", {"order": "7"}) == {
            "error": "the number of this call is not known"
        }


async def test_a_fact_that_is_not_needed_may_be_missing() -> None:
    facts = call_facts("c1", LegFacts(transport="webrtc", sample_rate_hz=16000))

    assert await function("whose_or_any", facts, bound={"phone": "number"}).run({"order": "7"}) == [
        "",
        "7",
    ]


def is_ours(headers: Mapping[str, str], body: str, *, now: float) -> bool:
    """Return whether a request is ours, as docs/agents.md has it."""
    at, call = headers["Holdline-Timestamp"], headers["Holdline-Call"]
    if abs(now - int(at)) > 300:
        return False
    found = hmac.new(KEY, f"{at}.{call}.{body}".encode(), hashlib.sha256).digest()
    proof = f"v1,{base64.b64encode(found).decode()}"
    return hmac.compare_digest(proof, headers["Holdline-Signature"])


def forgeries(headers: Mapping[str, str], body: str) -> Iterator[tuple[Mapping[str, str], str]]:
    yield headers, body.replace("7", "8")
    yield {**headers, "Holdline-Call": headers["Holdline-Call"].replace(CALLER, SPOOFED)}, body
    yield {**headers, "Holdline-Timestamp": str(int(headers["Holdline-Timestamp"]) + 1)}, body


@pytest.mark.parametrize("method", ["POST", "GET"])  # with a body, and without one
@pytest.mark.parametrize("query", ["", "?shop=a%2Fb"])
async def test_a_signature_covers_arguments_time_and_facts(method: str, query: str) -> None:
    came = list[tuple[Mapping[str, str], str]]()

    async def answer(request: web.Request) -> web.Response:
        came.append(
            (dict(request.headers), await request.text() or request.rel_url.raw_query_string)
        )
        return web.json_response("ok")

    async with office(answer) as url:
        tool = http(method, url + query, signing_secret_env="SHOP", signing_secret=SECRET)
        await tool.run({"order": "7 \u00e4\n", "phone": CALLER})

    ((headers, body),) = came
    now = time.time()
    assert is_ours(headers, body, now=now)
    assert not is_ours(headers, body, now=now + 1000.0)
    assert not any(is_ours(*forged, now=now) for forged in forgeries(headers, body))
    assert KEY.decode() not in str(headers)


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"bound": {"fone": "number"}}, "`bound.fone` is not one of `parameters.properties`"),
        ({"bound": {"phone": "verified"}}, "'number', 'caller'"),
        (
            {"url": None, "entry_point": "a:b", "signing_secret_env": "S"},
            "`signing_secret_env` needs `url`",
        ),
        *(
            ({"signing_secret": secret}, "whsec_ followed by at least 24 bytes in base64")
            for secret in ("short", f"whsec_{'A' * 33}", "A" * 44, f"whsec_{'A' * 31}=")
        ),
    ],
)
def test_a_binding_or_secret_that_cannot_work_is_refused(
    settings: dict[str, Any], cure: str
) -> None:
    plain = {"name": "x", "description": "x", "url": "https://x.example.com", "parameters": SCHEMA}
    with pytest.raises(ValidationError, match=cure.replace("(", r"\(")):
        ToolSettings.model_validate(plain | settings)


def test_a_function_without_the_bound_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no parameter `bound\.fone`"):
        function("whose", bound={"fone": "number"})


@pytest.mark.virtual_time
@pytest.mark.parametrize("verifies", [True, False])
async def test_only_a_tool_that_is_allowed_to_can_verify_a_caller(*, verifies: bool) -> None:
    others = ("true", 1, False)
    results = [
        *({"verified": item} for item in others),
        "verified: true",
        {"note": {"verified": True}},
    ]
    times = list[None]()
    async with desk(function("answers", verifies=verifies)) as at_desk:
        at_desk.toolbox.verified = lambda: times.append(None)
        for result in results:
            owner_functions.ANSWER[:] = [result]
            await at_desk.use("answers", {})
            assert not times, result
        owner_functions.ANSWER[:] = [{"verified": True}]
        await at_desk.use("answers", {})

        assert at_desk.outcomes == ["ok"] * 6

    assert len(times) == verifies


def test_protected_fields_are_refused_if_no_tool_can_verify_the_caller() -> None:
    with pytest.raises(ValidationError, match="needs one of `tools` with `verifies: true`"):
        AgentSettings(after_verification=("balance",))
