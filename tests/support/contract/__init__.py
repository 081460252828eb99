"""Replay of the recordings of a real StackStorm at the stand-in or at another server."""
