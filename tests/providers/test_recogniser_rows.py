"""Ladders with recognisers of the adapter, first or second: no word of the caller is lost."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pipecat.processors.frame_processor import FrameProcessor

from fallbacks.events import Suspected
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import KINDS, Lab, Spec
from lab.simulators.schedule import Window
from providers.catalog import ADAPTED, provider
from providers.facts import RungFacts
from tests.kit.bench import rung_spec
from tests.lab.simulators import synthetic_caller as caller
from tests.lab.simulators.near_ears import bring_near
from tests.processors.hearing.stt_call import RATE_HZ, on_stage, policy_of, words
from tests.providers.adapter.own_recogniser import SERVICE, OwnSimulator

pytestmark = pytest.mark.virtual_time

PIECES = "tests.providers.adapter.test_recogniser"
FIRST = "I would like to book an appointment."
SECOND = "When are you open on Saturday?"
OWN: Mapping[str, Mapping[str, Any]] = {
    "own": {"facts": RungFacts()},
    "own-flushing": {
        "facts": RungFacts(finalises=True, interim=True),
        "init": {"flushes": True},
    },
}


@pytest.fixture(autouse=True)
def _simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in OWN:
        monkeypatch.setitem(KINDS, kind, OwnSimulator)  # pyright: ignore[reportArgumentType]


def service_of(peer: Instance, kind: str) -> Any:
    """Return the service of a rung, as a call builds it."""
    more: dict[str, Any] = {"sample_rate_hz": RATE_HZ, "api_key": peer.api_key, "name": peer.name}
    if kind in OWN:
        more |= {**OWN[kind], "service": SERVICE}
        kind = ADAPTED
    rung = rung_spec("stt", kind, peer.url, **more)
    return provider("stt", kind, rung.service).build(rung)


KINDS_TRIED = ("deepgram", "soniox", "assemblyai", "own", "own-flushing")
FAULTS: dict[str, Fault | None] = {
    "refused mid-speech": faults.Cut(after_words=2, how="error"),
    "mute mid-speech": faults.Stall(after_words=2),
    "dead": faults.Refuse(),
    "healthy": None,
    "reset mid-speech": faults.Cut(after_words=2),
    "closed mid-speech": faults.Cut(after_words=2, how="close"),
    "mute": faults.Silent(),
    "garbage": faults.Garbage(),
    "503": faults.Http(status=503),
}


def rows() -> Iterator[Any]:
    """Yield each fault with every second recogniser, and with the plainest one in any case."""
    for place, first in enumerate(KINDS_TRIED):
        for number, (name, fault) in enumerate(FAULTS.items(), start=1):
            if (place + number) % 2 and first != "own":
                continue
            second = KINDS_TRIED[(place + number) % len(KINDS_TRIED)]
            yield pytest.param(first, second, fault, id=f"{first}-{second}-{name}")


@pytest.mark.parametrize(("first", "second", "fault"), list(rows()))
async def test_no_word_of_the_caller_is_lost(first: str, second: str, fault: Fault | None) -> None:
    async with bring_near(Lab([Spec(name="a", kind=first), Spec(name="b", kind=second)])) as lab:
        lab.instance("a").set_faults([Window(fault=fault)] if fault else [])
        kinds = {"a": first, "b": second}
        rungs = {name: service_of(lab.instance(name), kind) for name, kind in kinds.items()}
        async with on_stage(rungs, lab=lab, pace=1.0) as call:
            said = [await call.says(FIRST), await call.says(SECOND)]

            assert [words(item) for item in said] == [words(FIRST), words(SECOND)]
            assert bool(call.failures) == bool(fault)
            assert {name for name, _ in call.failures} <= {"a"}


@pytest.mark.parametrize("quiet", [True, False], ids=["known as quiet", "taken for another"])
async def test_a_recogniser_without_interim_results_is_not_late_while_the_caller_speaks(
    *, quiet: bool
) -> None:
    service = f"{PIECES}:Pieces"
    rungs: dict[str, FrameProcessor] = {
        name: provider("stt", ADAPTED, service).build(
            rung_spec("stt", ADAPTED, service=service, name=name, init={"words": name})
        )
        for name in ("a", "b")
    }
    policy = policy_of(rungs)
    policy.quiet = frozenset(rungs) if quiet else frozenset()
    async with (
        bring_near(Lab([])) as lab,
        on_stage(rungs, lab=lab, pace=1.0, policy=policy) as call,
    ):
        await call.silence(0.5)
        await call.starts()
        await call.sound(caller.noise(4.0, rms=2000))
        await call.stops()
        await call.written("a")

        assert call.asked == (["a"] if quiet else ["a", "b"])
        assert bool(call.facts(Suspected)) != quiet
        assert not quiet or call.text == "a"
