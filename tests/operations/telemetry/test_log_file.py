"""The log's file when its folder changes."""

import shutil
import socket
from pathlib import Path

import pytest

from operations.telemetry.logs import LogFile


def test_a_deleted_folder_loses_lines_and_no_others_connection(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    file = LogFile(folder / "holdline.log")
    file.write("one\n")
    shutil.rmtree(folder)

    with pytest.raises(OSError, match="No such file"):
        file.write("two\n")
    near, far = socket.socketpair()  # gets the next numbers that are free
    with pytest.raises(OSError, match="No such file"):
        file.write("three\n")
    near.sendall(b"still here")

    assert far.recv(100) == b"still here"
    folder.mkdir()
    file.write("four\n")
    assert (folder / "holdline.log").read_text() == "four\n"
    for item in (near, far, file):
        item.close()
