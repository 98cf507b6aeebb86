"""The TTS stage with voices behind the adapter: as the second rung, and as the first one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import InterruptionFrame, TTSAudioRawFrame

from fallbacks.events import RungChosen
from fallbacks.failure import Kind
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from providers.provider import RungSpec
from tests.kit.faults import DEAD, MUTE, cuts, stalls
from tests.processors.speaking.tts_bench import Talk, talking
from tests.providers.adapter.own_lab import own_voice

pytestmark = pytest.mark.virtual_time

TEXT = "Hello there, this is Holdline, and we are open from nine today."
NEXT = "You can park behind the house."
VOICES = ("aura", "openai", "own")
DEAD_TOO = {name: DEAD[name] for name in ("refused", "401", "503", "hung handshake")}
BROKEN: dict[str, Fault] = {**MUTE, **cuts(4), **stalls(4), **DEAD_TOO}


@asynccontextmanager
async def a_voice(lab: Lab, name: str) -> AsyncIterator[tuple[Instance, RungSpec | None]]:
    """Yield the server of a voice, and its rung if it is the owner's and not the lab's."""
    if name == "own":
        async with own_voice(lab) as (peer, spec):
            yield peer, spec
    else:
        yield lab.instance(name), None


async def spoken(talk: Talk, text: str = TEXT) -> None:
    await talk.reply(*text.split())
    await talk.until(lambda: any(text[-10:] in said for said in talk.said), within_s=15.0)


def words_of(talk: Talk) -> list[str]:
    return talk.words.split()


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("name", ["silent", "close after 4 words"])
async def test_a_new_voice_takes_over_and_each_word_is_said_once(
    lab: Lab, name: str, voice: str
) -> None:
    lab.instance("cartesia").set_faults([Window(fault=BROKEN[name])])
    async with a_voice(lab, voice) as (_, own), talking(lab, ("cartesia", voice), own=own) as talk:
        await spoken(talk)

    assert words_of(talk) == TEXT.split()


@pytest.mark.parametrize(
    ("voice", "name"),
    [
        *(("openai", name) for name in BROKEN),  # over HTTP, the others over a websocket
        *(("aura", name) for name in BROKEN if name not in DEAD_TOO or name == "hung handshake"),
        *(
            ("own", name)
            for name in ("401", "silent", "error after 4 words", "stall after 4 words")
        ),
    ],
)
async def test_a_new_voice_that_breaks_is_replaced_and_no_word_is_lost(
    lab: Lab, voice: str, name: str
) -> None:
    async with a_voice(lab, voice) as (peer, own):
        peer.set_faults([Window(fault=BROKEN[name])])
        async with talking(lab, (voice, "elevenlabs"), own=own) as talk:
            await spoken(talk)

    assert words_of(talk) == TEXT.split()
    assert "elevenlabs" in talk.asked


LONG = (
    "A haircut costs forty euros on weekdays and fifty on Saturdays. "
    "You can pay by card or in cash, and the first coffee is always free."
)


@pytest.mark.parametrize(("words", "calls"), [(2, 1), (4, 2), (13, 1)])
async def test_a_body_that_ends_cleanly_in_mid_sentence_loses_no_word(
    lab: Lab, words: int, calls: int
) -> None:
    cut = faults.Cut(after_words=words, how="close")
    lab.instance("openai").set_faults([Window(fault=cut)])
    async with talking(lab, ("openai", "elevenlabs")) as talk:
        for _ in range(calls):
            await spoken(talk, LONG)

    heard = [word.text for word in [*talk.spoken_by("openai"), *talk.spoken_by("elevenlabs")]]
    assert talk.words == " ".join([LONG] * calls)
    assert talk.failures[0] == ("openai", str(Kind.CUT))
    assert 0 <= len(heard) - calls * len(LONG.split()) <= 2 * calls  # sent twice, played once
    assert max(talk.line.gaps_s) <= 1.0


@pytest.mark.parametrize(
    "fault", [faults.Mistaken(what="no_audio"), faults.Cut(after_words=1, how="close")]
)
async def test_a_body_without_its_words_is_said_by_the_next_voice(lab: Lab, fault: Fault) -> None:
    lab.instance("openai").set_faults([Window(fault=fault)])
    async with talking(lab, ("openai", "elevenlabs")) as talk:
        await spoken(talk, LONG)

    assert talk.words == LONG
    assert "elevenlabs" in talk.asked


@pytest.mark.parametrize(
    ("voice", "fault"),
    [
        ("aura", faults.Garbage()),
        ("openai", faults.Garbage()),
        ("aura", faults.Mistaken(what="odd_pcm")),
    ],
    ids=["aura garbage", "openai garbage", "aura half a sample"],
)
async def test_sound_that_is_none_is_never_played(lab: Lab, voice: str, fault: Fault) -> None:
    lab.instance(voice).set_faults([Window(fault=fault)])
    async with talking(lab, (voice, "elevenlabs")) as talk:
        await spoken(talk)

    assert words_of(talk) == TEXT.split()
    assert (voice, str(Kind.PROTOCOL)) in talk.failures


@pytest.mark.parametrize(
    ("voice", "text"),
    [
        ("aura", TEXT),
        *(("openai", text) for text in ("Sure.", "That is $25.50, i.e. 3 % off.", LONG)),
    ],
)
async def test_a_healthy_voice_is_heard_whole_in_each_reply(
    lab: Lab, voice: str, text: str
) -> None:
    async with talking(lab, (voice, "elevenlabs")) as talk:
        for _ in range(2):
            await spoken(talk, text)

    assert talk.words == f"{text} {text}"
    assert (talk.asked[:2], talk.failures) == ([voice, voice], [])
    assert talk.facts(RungChosen) == []


@pytest.mark.parametrize("voice", ["aura", "own"])
async def test_a_voice_without_contexts_says_no_old_word_after_an_interruption(
    lab: Lab, voice: str
) -> None:
    """The owner's voice never falls silent by itself."""
    async with a_voice(lab, voice) as (peer, own):
        if voice == "aura":
            peer.set_faults([Window(fault=faults.LateAfterCancel(delay_s=3.0))])
        async with talking(lab, (voice, "elevenlabs"), own=own) as talk:
            await talk.reply(*TEXT.split())
            await talk.until(lambda: len(talk.words) > 0)
            await talk.put(InterruptionFrame())
            await asyncio.sleep(0.05)
            since = len(talk.kept)
            await spoken(talk, NEXT)

    after = [frame for frame in talk.kept[since:] if isinstance(frame, TTSAudioRawFrame)]
    alone_s = talk.spoken_by(voice)[-1].end_s
    assert words_of(talk)[-len(NEXT.split()) :] == NEXT.split()
    assert sum(len(frame.audio) for frame in after) / 16000 == pytest.approx(alone_s, abs=0.3)
    assert talk.failures == []
