"""LiveKit's trunks and the rule: created, found again, changed if different, else unchanged."""

from dataclasses import replace

import pytest
from aiohttp import web
from livekit import api
from pydantic import SecretStr

from tests.kit.served import served
from tests.transports.exchange import SECRET, Exchange
from transports.livekit.trunks import (
    Arranged,
    Credentials,
    ExchangeError,
    ExchangePlan,
    InboundTrunk,
    OutboundTrunk,
    outbound_trunk_id,
    set_up,
)

PLAN = ExchangePlan(
    name="holdline",
    room_prefix="call-",
    inbound=InboundTrunk(
        numbers=("+15550100", "+15550101"),
        allowed_addresses=("192.0.2.0/24",),
        media_timeout_s=90.0,
    ),
    outbound=OutboundTrunk(
        address="sip.example.com",
        numbers=("+15550100",),
        credentials=Credentials(username="us", password=SecretStr("outbound password")),
        transport="tls",
    ),
)


async def ask(exchange: Exchange, plan: ExchangePlan = PLAN) -> list[Arranged]:
    return await set_up(exchange.url, "key", SecretStr(SECRET), plan)


async def test_the_first_run_creates_everything(exchange: Exchange) -> None:
    done = await ask(exchange)

    assert [(item.part, item.change) for item in done] == [
        ("inbound trunk", "created"),
        ("dispatch rule", "created"),
        ("outbound trunk", "created"),
    ]
    (inbound,) = exchange.objects["SIPInboundTrunk"].values()
    assert list(inbound.numbers) == ["+15550100", "+15550101"]
    assert list(inbound.allowed_addresses) == ["192.0.2.0/24"]
    assert inbound.media.media_timeout.ToSeconds() == 90
    (rule,) = exchange.objects["SIPDispatchRule"].values()
    assert list(rule.trunk_ids) == [inbound.sip_trunk_id]
    rooms = rule.rule.dispatch_rule_callee  # named after our number, not after the caller's
    assert (rooms.room_prefix, rooms.randomize) == ("call-", True)
    (outbound,) = exchange.objects["SIPOutboundTrunk"].values()
    assert (outbound.address, outbound.auth_username) == ("sip.example.com", "us")
    assert outbound.transport == api.SIPTransport.SIP_TRANSPORT_TLS


async def test_the_second_run_changes_nothing(exchange: Exchange) -> None:
    first = await ask(exchange)
    exchange.asked.clear()

    second = await ask(exchange)

    assert [replace(item, change="unchanged") for item in first] == second
    assert {line for line in exchange.asked if not line.startswith("List")} == set()


async def test_only_differences_are_changed(exchange: Exchange) -> None:
    await ask(exchange)
    (made,) = exchange.objects["SIPInboundTrunk"].values()
    made.headers["X-Owner"] = "somebody else's"
    numbers = replace(PLAN.inbound, numbers=("+15550102",))

    done = await ask(exchange, replace(PLAN, inbound=numbers))

    assert [(item.change, item.fields) for item in done] == [
        ("changed", ("numbers",)),
        ("unchanged", ()),
        ("unchanged", ()),
    ]
    (kept,) = exchange.objects["SIPInboundTrunk"].values()
    assert list(kept.numbers) == ["+15550102"]
    assert dict(kept.headers) == {"X-Owner": "somebody else's"}
    assert list(kept.allowed_addresses) == ["192.0.2.0/24"]


async def test_a_rule_that_names_callers_is_replaced_by_one_that_does_not(
    exchange: Exchange,
) -> None:
    await ask(exchange)
    (made,) = exchange.objects["SIPDispatchRule"].values()
    before = api.SIPDispatchRuleIndividual(room_prefix="call-")
    made.rule.CopyFrom(api.SIPDispatchRule(dispatch_rule_individual=before))

    done = await ask(exchange)

    assert [(item.change, item.fields) for item in done][1] == ("changed", ("rule",))
    (rule,) = exchange.objects["SIPDispatchRule"].values()
    assert rule.rule.WhichOneof("rule") == "dispatch_rule_callee"


async def test_the_order_of_numbers_is_no_difference(exchange: Exchange) -> None:
    await ask(exchange)
    turned = replace(PLAN.inbound, numbers=PLAN.inbound.numbers[::-1])

    done = await ask(exchange, replace(PLAN, inbound=turned))

    assert {item.change for item in done} == {"unchanged"}


async def test_an_installation_is_identified_by_its_name(exchange: Exchange) -> None:
    await ask(exchange)

    done = await ask(exchange, replace(PLAN, name="staging"))

    assert {item.change for item in done} == {"created"}
    assert len(exchange.objects["SIPInboundTrunk"]) == 2


async def test_two_objects_with_the_same_name_are_an_error(exchange: Exchange) -> None:
    await ask(exchange)
    (made,) = exchange.objects["SIPInboundTrunk"].values()
    exchange.objects["SIPInboundTrunk"]["ID_99"] = made

    with pytest.raises(ExchangeError, match='has 2 objects named "holdline inbound"'):
        await ask(exchange)


async def test_a_refusal_is_reported_with_its_message(exchange: Exchange) -> None:
    exchange.refuses["CreateSIPInboundTrunk"] = ("invalid_argument", "another trunk has it")

    with pytest.raises(ExchangeError, match="does not make the inbound trunk: another trunk has"):
        await ask(exchange)


async def test_a_wrong_secret_and_a_missing_server_are_reported(exchange: Exchange) -> None:
    wrong = SecretStr("wrong-secret-of-at-least-thirty-two-letters")
    with pytest.raises(ExchangeError, match="rejects LIVEKIT_API_KEY or LIVEKIT_API_SECRET"):
        await set_up(exchange.url, "key", wrong, PLAN)

    with pytest.raises(ExchangeError, match="cannot be reached"):
        await set_up("http://127.0.0.1:9", "key", wrong, PLAN)


async def test_a_server_that_is_not_livekit_is_reported() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")

    app = web.Application()
    app.router.add_post("/{path:.*}", page)
    async with served(app) as url:
        with pytest.raises(ExchangeError, match="does not answer like LiveKit"):
            await set_up(url, "key", SecretStr(SECRET), PLAN)


async def test_the_outbound_trunk_is_found_again_by_its_name(exchange: Exchange) -> None:
    async with api.LiveKitAPI(exchange.url, "key", SECRET) as lk:
        before = await outbound_trunk_id(lk, "holdline")
        done = await ask(exchange)
        after = await outbound_trunk_id(lk, "holdline")

    assert before is None
    assert after == done[-1].id
