"""A SIP address is called directly, without a trunk's host in between."""

from pydantic import SecretStr

from tests.transports.exchange import SECRET, running_exchange
from transports.livekit.dialling import OutboundCall, dial, open_exchange

CALL = OutboundCall(room="person-1", trunk_id="", number="desk", host="192.0.2.7:5070")


async def test_a_sip_address_is_called_where_it_is() -> None:
    with running_exchange() as exchange:
        async with open_exchange(exchange.url, "key", SecretStr(SECRET)) as lk:
            dialled = await dial(lk, CALL)
        (asked,) = exchange.dialled

    assert dialled.answered
    assert (asked.sip_call_to, asked.trunk.hostname, asked.sip_trunk_id) == (
        "desk", "192.0.2.7:5070", "",
    )  # fmt: skip
