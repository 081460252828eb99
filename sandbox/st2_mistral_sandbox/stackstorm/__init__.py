"""A StackStorm stand-in: what a client of executions sees of 3.9, in memory, on a real socket.

It is made for tests and for the demo sandbox. It keeps nothing on disk, knows one organisation
(everybody who is let in may do everything, as StackStorm without RBAC) and runs commands that it
is sent, so it belongs on a loopback address and nowhere else.

>>> from st2_mistral_sandbox.stackstorm import StackStorm
>>> with StackStorm() as st2:
...     key = st2.create_api_key()
...     # POST {st2.api_url}/executions with the header St2-Api-Key
"""

from st2_mistral_sandbox.stackstorm.runners import Runner, RunRequest, RunResult
from st2_mistral_sandbox.stackstorm.server import StackStorm

__all__ = ["RunRequest", "RunResult", "Runner", "StackStorm"]
