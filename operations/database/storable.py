"""A text as every database takes it, whatever a provider, a model or a carrier has put into it."""


def storable(text: str) -> str:
    """Return a text without what PostgreSQL refuses: NUL, and halves of characters.

    SQLite's driver refuses the halves, too, with an error that is none of a database.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
