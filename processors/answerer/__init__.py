"""Answering machine detection: a person, voicemail, a menu or a call-screening assistant."""
