"""Records of both systems that the commands are given the ids of."""

from __future__ import annotations

from st2actions_mistral.model.links import WorkflowRef
from support.breaking_servers import answer

EXECUTION = "6b03c160746e6986596007f7"
WORKFLOW = "0f2b9c1a-77b1-4f0e-9a53-2a1a4f5e6d7c"
ACTION = "6d1c7f0e-5f0a-4b40-8b7d-5f0b7a0c1d3e"

PARENT = {
    "id": EXECUTION,
    "status": "running",
    "context": WorkflowRef("mistral", WORKFLOW, "tests.main").as_context({}),
}

MISTRAL_ROOT = answer(200, {"uri": "http://mistral/v2"})
NOT_FOUND = answer(404, {"faultstring": "Not found"})
