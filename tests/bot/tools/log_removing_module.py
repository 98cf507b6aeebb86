"""A module that sets up the log, as programs with loguru do."""

from loguru import logger

logger.remove()


def noted() -> str:
    """Write a line."""
    logger.info("noted")
    return "done"
