"""Who picked up a call that we placed: person, machine, menu or assistant."""
