"""Serve keystone's own WSGI application on a port of 127.0.0.1.

Keystone reads its configuration from the file that OS_KEYSTONE_CONFIG_FILES names, and options from the
command line. So the port comes from the environment.
"""

from __future__ import annotations

import os

from cheroot import wsgi
from keystone.wsgi.api import application


def main() -> None:
    server = wsgi.Server(("127.0.0.1", int(os.environ["PORT"])), application, numthreads=8)
    try:
        server.start()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
