"""An owner's module whose environment is not set, for the tests of owner tools."""

SETTINGS: dict[str, str] = {}
URL = SETTINGS["CRM_URL"]


def x() -> str:
    """Say where the register is."""
    return URL
