"""The directive ``command-help`` shows what ``st2-mistral COMMAND --help`` prints."""

import contextlib
import io
import os
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from st2actions_mistral.cli.main import main


def help_of(command: str) -> str:
    """Return the help of a command, or of ``st2-mistral`` itself for an empty one."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "76", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main([*command.split(), "--help"])
    return printed.getvalue()


class CommandHelp(Directive):
    """Show the help of the command that is named as the argument."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one literal block."""
        text = help_of(self.arguments[0] if self.arguments else "")
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
