"""One call on the demo's page in Firefox, with its own fake microphone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.absent import report_absent
from tests.e2e.demo_server import running_demo
from tests.e2e.firefox import FIREFOX, firefox
from tests.e2e.talking import ANSWER_S
from tests.transports.local import pulse

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STATE = "document.documentElement.dataset.call"
SAID = "document.querySelector('.said[data-who=agent]:not(.growing) .words')?.textContent"
PRESS = "document.querySelector('button.call').click()"
# The page's own picture of the microphone: a bar that grows with what it hears.
HUMS = "new DOMMatrix(getComputedStyle(document.querySelector('.level .bar')).transform).a > 0.05"

KEEP_THE_LINE = """() => {
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...settings) {
            super(...settings);
            window.line = this;
        }
    };
}"""
# The bytes that the server says it received; a hum is no speech, so there is no event.
ARRIVES = """[...(await line.getStats()).values()].some(
    ({ type, kind, packetsReceived }) =>
        type === "remote-inbound-rtp" && kind === "audio" && packetsReceived > 0,
)"""


@pytest.fixture
def sound(network: None, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    if FIREFOX is None:
        report_absent("firefox-esr")
    pulse.require()
    with pulse.sound_card(tmp_path) as environment:
        yield environment


async def test_a_call_in_firefox_is_greeted_and_hung_up(
    sound: Mapping[str, str], tmp_path: Path
) -> None:
    async with running_demo(tmp_path) as demo, firefox(tmp_path, sound=sound) as tab:
        await tab.prepare(KEEP_THE_LINE)
        await tab.open(demo.url + "/client/")
        with pulse.listening(sound, tmp_path / "speaker"):
            await tab.evaluate(PRESS)
            await tab.until(f"{STATE} === 'in_call'", within_s=ANSWER_S)
            assert await tab.until(HUMS, within_s=ANSWER_S)  # its microphone is open
            assert "How can I help?" in await tab.until(SAID, within_s=ANSWER_S)

            assert await tab.until(ARRIVES, within_s=ANSWER_S)

            await tab.evaluate(PRESS)
            await demo.entry("CallEnded", within_s=ANSWER_S, reason="caller_hung_up")

        assert await tab.evaluate(STATE) == "ended"
        assert sum(pulse.stretches_s(pulse.heard(tmp_path / "speaker"))) > 0.5  # the greeting
        assert tab.errors == []
        assert tab.foreign == []
