"""Run ``st2-mistral`` in this process: a new one takes most of a second to start."""

from __future__ import annotations

import contextlib
import io
import subprocess

from st2actions_mistral.cli.main import main


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. The result is that of a process."""
    args = [str(word) for word in words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(args)
        except SystemExit as end:
            # argparse ends the process after --help, and for an invalid command line.
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(args, status, out.getvalue(), err.getvalue())
