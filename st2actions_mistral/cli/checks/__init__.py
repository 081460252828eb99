"""The checks of ``st2-mistral check``: :func:`run.run_checks` runs all of them in order."""
