"""The record of the calls, as a process keeps it: written, listed, forgotten, handed out."""
