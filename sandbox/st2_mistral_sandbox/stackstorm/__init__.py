"""A StackStorm stand-in: the API of StackStorm 3.9 for executions, in memory, on a real socket.

It is for tests and for the sandbox. It stores nothing on disk. Every authenticated user may do
everything, as in StackStorm without RBAC. It runs the commands that it is sent: bind it to a loopback
address only.

>>> from st2_mistral_sandbox.stackstorm import StackStorm
>>> with StackStorm() as st2:
...     key = st2.create_api_key()
...     # POST {st2.api_url}/executions with the header St2-Api-Key: {key}
"""

from st2_mistral_sandbox.stackstorm.runners import Runner, RunRequest, RunResult
from st2_mistral_sandbox.stackstorm.server import StackStorm

__all__ = ["RunRequest", "RunResult", "Runner", "StackStorm"]
