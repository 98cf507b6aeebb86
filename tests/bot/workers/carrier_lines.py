"""The lab's carriers for a server of several workers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.telnyx import TelnyxAccount, TelnyxManner, telnyx_call
from tests.bot.serving import AUTH_TOKEN
from tests.transports.conformance.transports.exotel import KEY, TOKEN, Exotel
from tests.transports.conformance.transports.plivo import Plivo
from tests.transports.conformance.transports.telnyx import Telnyx

SECRETS = ("api_key", "api_secret", "api_token", "public_key", "auth_id", "auth_token")


def secrets_in(tree: Mapping[str, Any]) -> dict[str, str]:
    """Take the secrets out of a carrier's section, and return the variables that hold them."""
    return {
        f"{carrier}_{name}".upper(): door.pop(name)
        for carrier, door in tree.get("transports", {}).items()
        for name in SECRETS
        if name in door
    }


class Twilio:
    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[Mapping[str, Any]]:
        del folder
        yield {}

    def carrier(self, url: str) -> Carrier:
        return Carrier(url, AUTH_TOKEN)


class TelnyxLine(Telnyx):
    def carrier(self, url: str) -> Carrier:
        account = self._account
        assert isinstance(account, TelnyxAccount)
        call = Carrier(url, "", phone=telnyx_call(), manner=TelnyxManner(account))
        account.register_call(call)
        return call


class PlivoLine(Plivo):
    def carrier(self, url: str) -> Carrier:
        account = self._account
        assert isinstance(account, PlivoAccount)
        call = Carrier(url, "", phone=plivo_call(), manner=PlivoManner(account))
        account.register_call(call)
        return call


class ExotelLine(Exotel):
    def carrier(self, url: str) -> Carrier:
        return Carrier(url, "", phone=exotel_call(), manner=ExotelManner(key=KEY, token=TOKEN))


# `tests/transports/test_machines.py` shows what differs between the carriers.
ANY_LINE = pytest.mark.parametrize(
    "line",
    [
        pytest.param(Twilio(), id="twilio"),
        pytest.param(TelnyxLine(), id="telnyx", marks=pytest.mark.doors),
        pytest.param(PlivoLine(), id="plivo", marks=pytest.mark.doors),
    ],
)
