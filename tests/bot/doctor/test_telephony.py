"""The doctor reads our account at a carrier, and tries LiveKit's key and secret."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.doctor.finding import DoctorFinding
from bot.doctor.telephony import check_telephony
from configuration.settings import Settings
from lab.simulators.carrier.exotel import ExotelAccount
from lab.simulators.carrier.plivo import PlivoAccount
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.telnyx import TelnyxAccount
from tests.kit.stages import STAGES
from tests.transports.exchange import SECRET, Exchange, running_exchange

NUMBER = "+15550100"
PUBLIC = "http://127.0.0.1:8080"
SID, TOKEN = "AC" + "1" * 32, "a-token"


class Far:
    """A simulated carrier: its section, and where it sends the calls of our numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.twilio = CarrierRest(account_sid=SID, auth_token=TOKEN)
        self.telnyx, self.plivo, self.exotel = TelnyxAccount(), PlivoAccount(), ExotelAccount()
        self.account: Any = getattr(self, name)

    @property
    def webhooks(self) -> dict[str, str]:
        return {
            "twilio": self.twilio.voice_urls,
            "telnyx": self.telnyx.webhooks,
            "plivo": self.plivo.answer_urls,
            "exotel": {},
        }[self.name]

    @property
    def section(self) -> dict[str, Any]:
        keys: dict[str, dict[str, Any]] = {
            "twilio": {"account_sid": SID, "auth_token": TOKEN},
            "telnyx": {"api_key": self.telnyx.api_key, "public_key": self.telnyx.public_key},
            "plivo": {"auth_id": self.plivo.auth_id, "auth_token": self.plivo.auth_token},
            "exotel": {
                "account_sid": self.exotel.account_sid,
                "api_key": self.exotel.api_key,
                "api_token": self.exotel.api_token,
            },
        }
        usual = {"enabled": True, "number": NUMBER, "api_url": self.account.url}
        return usual | keys[self.name]

    async def found(
        self, *, online: bool = True, machine: str | None = None, **changes: Any
    ) -> DoctorFinding:
        settings = Settings.model_validate(
            {
                "server": {"public_url": PUBLIC, "machine": machine},
                "stages": STAGES,
                "transports": {self.name: self.section | changes},
            }
        )
        findings = await check_telephony(settings, online=online)
        return {finding.about: finding for finding in findings}[f"transports.{self.name}"]


@asynccontextmanager
async def carrier(name: str) -> AsyncIterator[Far]:
    far = Far(name)
    async with far.account:
        yield far


KEYS = {
    "twilio": ("auth_token", "TWILIO_AUTH_TOKEN"),
    "telnyx": ("api_key", "TELNYX_API_KEY"),
    "plivo": ("auth_token", "PLIVO_AUTH_TOKEN"),
    "exotel": ("api_token", "EXOTEL_API_TOKEN"),
}
WITH_NUMBERS = ("twilio", "telnyx", "plivo")


@pytest.mark.parametrize("name", KEYS)
async def test_a_right_account_is_no_problem(name: str) -> None:
    async with carrier(name) as far:
        far.webhooks[NUMBER] = f"{PUBLIC}/{name}/voice"

        finding = await far.found()

    assert finding.ok, finding.text
    assert "the account is active" in finding.text


@pytest.mark.parametrize("name", WITH_NUMBERS)
async def test_behind_one_name_a_number_without_a_fallback_is_named(name: str) -> None:
    async with carrier(name) as far:
        far.webhooks[NUMBER] = f"{PUBLIC}/{name}/voice"

        findings = [await far.found(machine=machine) for machine in ("a", None)]

    wanted = f"{NUMBER} has no fallback URL: set it to {PUBLIC}/{name}/voice"
    assert all(finding.ok for finding in findings)
    assert [wanted in finding.text for finding in findings] == [True, False]


@pytest.mark.parametrize("name", KEYS)
async def test_a_wrong_key_is_named_by_its_variable(name: str) -> None:
    field, variable = KEYS[name]
    async with carrier(name) as far:
        changes: dict[str, Any] = {field: "a-wrong-one"}
        finding = await far.found(**changes)

    assert finding.text == f"{name.title()} rejects {variable} (401)"
    assert finding.cure.startswith("put a valid key")
    assert not finding.ok


@pytest.mark.parametrize("name", WITH_NUMBERS)
async def test_a_number_of_another_account_or_with_its_calls_elsewhere_is_a_problem(
    name: str,
) -> None:
    async with carrier(name) as far:
        far.webhooks["+15550199"] = f"{PUBLIC}/{name}/voice"
        other = await far.found()
        for there in ("http://old.example/voice", ""):
            far.webhooks[NUMBER] = there

            finding = await far.found()

            assert not finding.ok
            wanted = f"to {there or 'nowhere'}; set its webhook to {PUBLIC}/{name}/voice"
            assert wanted in finding.text

    assert other.text == f"{NUMBER} is not a number of this {name.title()} account"


@pytest.mark.parametrize("name", ["twilio", "exotel"])
async def test_a_suspended_account_is_a_problem(name: str) -> None:
    async with carrier(name) as far:
        far.account.status = "suspended"

        finding = await far.found()

    assert finding.text == f"{name.title()} says that the account is suspended"


@pytest.mark.parametrize("name", KEYS)
async def test_offline_no_key_is_sent_and_the_api_is_reached(name: str) -> None:
    field, _ = KEYS[name]
    async with carrier(name) as far:
        assert (await far.found(online=False, **{field: "a-wrong-one"})).ok

    assert not (await far.found(online=False)).ok  # it is gone


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("twilio", "account_sid"),
        ("exotel", "account_sid"),
        ("exotel", "api_key"),
        ("exotel", "api_token"),
    ],
)
async def test_without_a_key_nothing_is_read_and_its_variable_is_named(
    name: str, lacking: str
) -> None:
    async with carrier(name) as far:
        finding = await far.found(**{lacking: None})

    variable = f"{name}_{lacking}".upper()
    assert (finding.ok, finding.text) == (True, f"not read: {variable} is not set")


async def test_a_public_name_that_does_not_resolve_is_a_problem() -> None:
    async with carrier("twilio") as far:
        server = {"public_url": "https://holdline.invalid"}
        tree = {"server": server, "stages": STAGES, "transports": {"twilio": far.section}}
        findings = await check_telephony(Settings.model_validate(tree), online=True)

    (found,) = [finding for finding in findings if finding.about == "server.public_url"]
    assert not found.ok
    assert "holdline.invalid does not resolve" in found.text


@pytest.fixture
def livekit() -> Iterator[Exchange]:
    with running_exchange() as found:
        yield found


@pytest.mark.parametrize(
    ("secret", "instead", "ok", "text"),
    [
        (SECRET, None, True, "accepts the key and its secret"),
        ("x" * 40, None, False, "rejects LIVEKIT_API_KEY or LIVEKIT_API_SECRET (401)"),
        # The real server answers in plain text.
        (SECRET, (401, b"invalid token"), False, "rejects LIVEKIT_API_KEY or"),
        (SECRET, (200, b"<html>a proxy</html>"), False, "another server answered"),
    ],
)
async def test_livekits_key_and_secret_are_tried(
    livekit: Exchange, secret: str, instead: tuple[int, bytes] | None, *, ok: bool, text: str
) -> None:
    livekit.instead = instead
    url = livekit.url.replace("http:", "ws:")
    section = {"enabled": True, "url": url, "api_key": "key", "api_secret": secret}
    tree = {"stages": STAGES, "transports": {"livekit": section}}

    (finding,) = await check_telephony(Settings.model_validate(tree), online=True)

    assert (finding.ok, text in finding.text) == (ok, True), finding.text
