"""Each message on the disk has its row, despite other files next to it."""

from pathlib import Path

from operations.database.database import Database
from operations.record.voicemails import MessageFile, Voicemails, list_voicemails
from tests.operations.database.kept_voicemails import kept_voicemails


async def test_an_unreadable_file_does_not_hide_others(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/h.db"
    (tmp_path / "m1.wav").mkdir()  # like another user's file, it cannot be opened
    (tmp_path / "m2.wav").symlink_to(tmp_path / "gone")  # listed, and missing when opened
    message = MessageFile(tmp_path / "m3.wav", rate_hz=8000)
    message.add(b"\1\0" * 8000)
    message.finish()
    voicemails = Voicemails(Database(url))

    await list_voicemails(tmp_path, voicemails)

    found = {
        kept_voicemail.call_id: kept_voicemail.length_s
        for kept_voicemail in await kept_voicemails(url)
    }
    assert (found["m3"], "m2" in found) == (1.0, False)
    await voicemails.database.close()
