"""The imitated fresh machine of `make test-fresh` has no optional program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fresh_machine
from tests.absent import report_absent

PROGRAMS = (
    *("chromium", "firefox-esr", "pulseaudio", "parec", "postgres", "psql", "redis-server"),
    *("promtool", "turnserver", "baresip", "busybox", "gcc", "pkg-config", "go", "git", "ip"),
)
LOOK = f"""
import ctypes.util, os, shutil
from pathlib import Path
found = [name for name in {PROGRAMS} if shutil.which(name)]
found += [name for name in ("portaudio", "asound", "opus") if ctypes.util.find_library(name)]
found += [*Path("/usr/lib/postgresql").glob("*"), *Path("/opt").iterdir(), *Path.home().iterdir()]
print(found, os.environ.get("CI"))
"""


def test_a_fresh_machine_has_no_optional_program_library_or_server() -> None:
    if fresh_machine.INSIDE in os.environ:
        pytest.skip("this is one")
    enter = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/opt"]
    if os.geteuid() or not Path("/etc/debian_version").exists() or subprocess.call(enter):  # noqa: S603
        report_absent("root on Debian, with namespaces")

    told = subprocess.run(  # noqa: S603 - ours
        [sys.executable, fresh_machine.__file__, "-c", LOOK],
        check=True, capture_output=True, text=True, env=os.environ | {"CI": "true"},
    ).stdout  # fmt: skip

    assert told == "[] None\n"
