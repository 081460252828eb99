"""What all tests share. Helpers that are imported stand beside this file (``pythonpath``)."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A change is judged by the same cases each time; chance is for where somebody looks at what it finds.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# Asserts in it explain themselves only where pytest knows of it before it is imported.
pytest.register_assert_rewrite("breaking")
