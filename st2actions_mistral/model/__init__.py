"""Frozen dataclasses and tables for what travels between the two systems. No I/O."""
