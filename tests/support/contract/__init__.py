"""Replay the recordings of a real StackStorm against the stand-in or another server."""
