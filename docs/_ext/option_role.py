"""The role ``{opt}`` links to an option in the reference: {opt}`[st2] api_url`."""

from docutils import nodes
from oslo_config.sphinxext import ConfigOptXRefRole
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


class OptionRole(ConfigOptXRefRole):
    """Link to an option that is written as in a configuration file. An unknown option is a warning."""

    innernodeclass = nodes.literal

    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, explicit: bool, title: str, target: str
    ) -> tuple[str, str]:
        """Return the title as written, and the anchor of the option."""
        refnode["refdomain"], refnode["reftype"] = "oslo.config", "option"
        group, _, name = target.removeprefix("[").partition("] ")
        _, anchor = super().process_link(env, refnode, explicit, title, f"{group}.{name}")
        return title, anchor


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role."""
    app.add_role("opt", OptionRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
