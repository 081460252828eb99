"""Mistral's services as processes, in virtualenvs of their own, with a real broker and database."""
