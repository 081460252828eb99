"""Commands that the distribution adds to ``st2-mistral``."""
