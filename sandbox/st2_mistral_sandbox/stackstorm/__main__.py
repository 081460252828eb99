"""Run the stand-in alone, until SIGTERM or SIGINT.

python -m st2_mistral_sandbox.stackstorm --port 9101
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from st2_mistral_sandbox.stackstorm.catalog import RegistrationError
from st2_mistral_sandbox.stackstorm.server import StackStorm


def main(arguments: list[str] | None = None) -> int:
    """Start the stand-in, print its URLs and credentials, and wait for a signal."""
    parser = argparse.ArgumentParser(
        description="Run a StackStorm stand-in for tests and demonstrations."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument(
        "--port", type=int, default=9101, help="port to listen on, 0 for a free one (default: 9101)"
    )
    parser.add_argument("--api-key", help="API key to accept (default: a new one)")
    parser.add_argument(
        "--action-dir",
        action="append",
        default=[],
        metavar="FOLDER",
        help="register the actions whose metadata is here; may be repeated",
    )
    options = parser.parse_args(arguments)

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        st2 = StackStorm(options.host, options.port, action_dirs=options.action_dir)
    except RegistrationError as error:
        parser.error(str(error))
    with st2:
        key = st2.create_api_key(options.api_key)
        sys.stdout.write(
            f"api      {st2.api_url}\n"
            f"auth     {st2.auth_url}\n"
            f"stream   {st2.stream_url}\n"
            f"user     {st2.username}\n"
            f"password {st2.password}\n"
            f"api key  {key}\n"
        )
        sys.stdout.flush()
        stop.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
