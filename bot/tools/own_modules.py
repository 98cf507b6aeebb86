"""Lets tools be functions of modules that stand beside the configuration's file."""

import sys

from bot.config.loading import Loaded


def find_own_modules(loaded: Loaded) -> None:
    """Have imports look in the configuration's folder, too, if a tool of it is a function.

    Behind all other places, so that nothing there takes the place of a module of ours or of
    Python's. Nowhere else: who may write the configuration names what is run, and where a command
    is run is no such place. Workers look where their supervisor looks.
    """
    settings = loaded.settings
    agents = (settings.agent, *settings.agents.values())
    if loaded.file is None or not any(tool.entry_point for agent in agents for tool in agent.tools):
        return
    folder = str(loaded.file.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
