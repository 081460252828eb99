"""Mistral's language, DSL v2, as text that is read and written. No I/O, nothing of Mistral itself."""
