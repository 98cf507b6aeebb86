"""Makes modules next to the configuration file importable for the owner's tools."""

import sys

from configuration.loading import Loaded


def find_own_modules(loaded: Loaded) -> None:
    """Add the configuration file's folder to the import path if a tool is a Python function.

    The folder comes last, so that nothing in it replaces a module of Holdline or Python. The
    working directory is not added: whoever can write to it must not decide what runs, whereas
    whoever can write the configuration already decides that. Workers get the supervisor's path.
    """
    agents = loaded.settings.all_agents
    if loaded.file is None or not any(tool.entry_point for agent in agents for tool in agent.tools):
        return
    folder = str(loaded.file.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
