"""A telephone call over a carrier's websocket, whichever carrier: its dialect says the rest."""
