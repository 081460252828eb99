"""Add two actions to Mistral: ``st2.action`` and ``st2.callback``."""
