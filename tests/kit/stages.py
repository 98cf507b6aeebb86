"""The stages of a configuration whose providers nobody asks."""

STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [{"name": "voice", "kind": "local"}],
}
