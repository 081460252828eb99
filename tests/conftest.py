"""Configuration of all tests. Code that tests share is in ``tests/support``."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A change is judged by the same cases each time; chance is for where somebody looks at what it finds.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# pytest explains a failed assert only in modules that it knows before they are imported.
pytest.register_assert_rewrite("support")
