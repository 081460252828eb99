"""The role ``{opt}`` links to an option in the reference: {opt}`[st2] api_url`."""

from typing import Any

from docutils import nodes
from oslo_config.sphinxext import ConfigDomain, ConfigOptXRefRole
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


class OptionDomain(ConfigDomain):
    """Warn of an unknown option, where oslo.config ends the build with a KeyError."""

    def resolve_xref(self, *args: Any, **kwargs: Any) -> nodes.Element | None:
        """Return the link, or None for an unknown option."""
        try:
            return super().resolve_xref(*args, **kwargs)
        except KeyError:
            return None

    def resolve_any_xref(self, *args: Any, **kwargs: Any) -> list[tuple[str, nodes.Element]]:
        """Return nothing: options are linked with the role only."""
        return []


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
    """Register the role, and the domain in place of oslo.config's."""
    app.setup_extension("oslo_config.sphinxext")
    app.add_domain(OptionDomain, override=True)
    app.add_role("opt", OptionRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
