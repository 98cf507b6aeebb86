"""Records one call over SIP for docs/evidence: the words of both sides, and the call's record.

    .venv/bin/python scripts/make_sip_evidence.py

Needs the same programs as the tests with real SIP peers (`scripts/peers`). The caller and the
voices are simulated; the telephone, its line and the media server are real. In the first answer the
voice's connection is cut, and another voice continues.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.drill.evidence import JudgedTurn
    from tests.peers.media_server import MediaServer
    from tests.peers.sip_telephone import SipTelephone

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = ROOT / "docs" / "evidence"
ROW: Final = "tts-cut-reset"  # the caller asks for a price, and the voice is cut in the answer
SECOND: Final = "Where are you?"
RATE_HZ: Final = 8_000
Pcm = NDArray[np.int16]


def main() -> int:
    """Make the recording; return 0, or 3 if a required program is missing."""
    sys.path.insert(0, str(ROOT))
    from tests.peers.children import UnprovenError  # noqa: PLC0415 - found once the root is there
    from tests.peers.media_server import running_media_server  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory(prefix="holdline-evidence-") as folder:
        try:
            with running_media_server(Path(folder)) as media_server:
                asyncio.run(_record(media_server, Path(folder)))
        except UnprovenError as why:
            print(f"unproven: {why}")
            return 3
    return 0


async def _record(media_server: "MediaServer", folder: Path) -> None:
    from lab.drill.evidence import judge_turn  # noqa: PLC0415 - as above
    from lab.drill.rig import Conversation  # noqa: PLC0415 - found once the root is there
    from lab.drill.rows import When  # noqa: PLC0415 - as above
    from lab.drill.servers import GREETING  # noqa: PLC0415 - as above
    from tests.peers.sip_rig import open_sip_rig, row_of  # noqa: PLC0415 - as above
    from tests.peers.sip_telephone import SipTelephone  # noqa: PLC0415 - as above

    await media_server.add_number()
    async with open_sip_rig(row_of(ROW), media_server, folder / "rig") as rig:
        telephone = SipTelephone(folder / "phone", media_server.uri())
        async with Conversation(telephone, rig.lab, greeting=GREETING, path=rig.path) as call:
            await call.wait_for_greeting()
            await rig.break_now(When.BEFORE_TURN)
            first = await call.ask(rig.row.question)
            await rig.control.mend_all()
            turns = (first, await call.ask(SECOND))
            sound = _both_sides(telephone)
            judged = [await judge_turn(call, rig.control, turn) for turn in turns]
    await asyncio.to_thread(_write, sound, rig.calls, judged)


def _both_sides(telephone: "SipTelephone") -> Pcm:
    """Return the audio of both sides as two channels, as the telephone recorded it."""
    heard, phone = telephone.heard(), telephone.phone
    caller = np.zeros_like(heard)
    at = round((phone.spoken_at(0) - telephone.started_at) * RATE_HZ)
    spoken = phone.spoken()
    if at < 0:  # the caller's sound began before the call
        spoken, at = spoken[-at:], 0
    spoken = spoken[: caller.size - at]
    caller[at : at + spoken.size] = spoken
    return np.stack([heard, caller], axis=1)


def _write(sound: Pcm, calls: Path, turns: "Sequence[JudgedTurn]") -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    soundfile.write(OUT / "sip-call.wav", sound, RATE_HZ, subtype="ULAW")
    (record,) = calls.glob("*.jsonl")
    (OUT / "sip-call.jsonl").write_bytes(record.read_bytes())
    for turn in turns:
        verdict = turn.verdict
        print(f"{turn.turn.question} Every word once: {verdict.whole}; voices {verdict.voices}")
    print(f"{OUT / 'sip-call.wav'}: {sound.shape[0] / RATE_HZ:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
