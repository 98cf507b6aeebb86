"""Simulated recognisers over a plain websocket: Soniox, AssemblyAI."""
