"""The program: configuration, commands, the assembly of the pipeline and the server."""

import sys

if sys.platform == "win32":  # it has neither fork nor signals, and passes no sockets on
    sys.stderr.write("holdline: Windows is not supported; install it in WSL 2, which is Linux\n")
    raise SystemExit(2)

import os
from typing import Any

from loguru import logger

from runtime.waits import keep_cancellations_plain

keep_cancellations_plain()

# The ONNX runtime, which runs the voice models, sends telemetry to Microsoft as soon as it is
# imported. Its own switch takes effect too late (docs/decisions/0002). Set this to 0 to allow it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - written, not read

# Importing Pipecat writes a banner to stderr, which other programs read.
# `operations.telemetry.logs.set_up` enables Pipecat's log again.
logger.disable("pipecat")


async def bot(runner_args: Any) -> None:
    """Answer one call for Pipecat's own runner, which does `import bot` and calls `bot.bot(args)`.

    Args:
        runner_args: Pipecat's `SmallWebRTCRunnerArguments`, with the browser's connection, its
            `WebSocketRunnerArguments`, with a Twilio media socket, or its
            `LiveKitRunnerArguments`, with a room and a token to enter it with.

    Raises:
        TypeError: The runner was started for a transport that Holdline does not support.
    """
    from bot.programs.hosted import answer  # noqa: PLC0415 - other commands do not import Pipecat

    await answer(runner_args)
