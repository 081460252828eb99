"""Mistral's workflow language, DSL v2, as text. No I/O, and no import of Mistral."""
