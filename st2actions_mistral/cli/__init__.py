"""The command line: ``st2-mistral``."""
