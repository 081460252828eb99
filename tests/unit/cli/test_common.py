"""An optional dependency that is missing is reported with the command that installs it."""

from __future__ import annotations

import pytest

from st2actions_mistral.cli.common import require_extra
from st2actions_mistral.errors import ConfigError


def test_require_extra_names_the_command_that_installs_a_missing_module() -> None:
    message = r"needs the module nowhere\. Install it: pip install '\.\[relay\]' in the checkout"
    with pytest.raises(ConfigError, match=message), require_extra("relay"):
        __import__("nowhere")
