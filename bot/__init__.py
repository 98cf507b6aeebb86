"""Put together and run: configuration, commands, the pipeline's assembly and the server."""

import os
from typing import Any

from loguru import logger

# The ONNX runtime runs the voice models, and reports to its maker from the moment it is imported:
# its own switch comes too late (docs/decisions/0002). Who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - written for it, not read

# Importing Pipecat writes a banner to stderr, between lines that are read from there.
# `operations.telemetry.logs.set_up` lets it speak again.
logger.disable("pipecat")


async def bot(runner_args: Any) -> None:
    """Answer one call for Pipecat's own runner, which does `import bot` and calls `bot.bot(args)`.

    Args:
        runner_args: Pipecat's `SmallWebRTCRunnerArguments`, with the browser's connection, its
            `WebSocketRunnerArguments`, with a Twilio media socket, or its
            `LiveKitRunnerArguments`, with a room and a token to enter it with.

    Raises:
        TypeError: The runner was started for a transport that it cannot hand over.
    """
    from bot.programs.hosted import answer  # noqa: PLC0415 - commands without a call do without Pipecat

    await answer(runner_args)
