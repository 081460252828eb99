"""What all tests share. Helpers that are imported stand beside this file (``pythonpath``)."""

from __future__ import annotations

import pytest

# Asserts in it explain themselves only where pytest knows of it before it is imported.
pytest.register_assert_rewrite("breaking")
