"""Put together and run: configuration, commands, the pipeline's assembly and the server."""

from typing import Any


async def bot(runner_args: Any) -> None:
    """Answer one call for Pipecat's own runner, which does `import bot` and calls `bot.bot(args)`.

    Args:
        runner_args: Pipecat's `SmallWebRTCRunnerArguments`, with the browser's connection.

    Raises:
        TypeError: The runner was started for a transport that it cannot hand over.
    """
    from bot.hosted import answer  # noqa: PLC0415 - commands without a call do without Pipecat

    await answer(runner_args)
