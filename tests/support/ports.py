"""Reserve ports for servers that a test configures before it starts them."""

from __future__ import annotations

import atexit

from st2_mistral_sandbox import ports


def own_port() -> int:
    """Return a port of 127.0.0.1 that stays reserved until the tests end.

    Only a server that reuses addresses (SO_REUSEADDR) can listen on it.
    """
    reserved = ports.reserve("127.0.0.1", 0, "A test")
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port
