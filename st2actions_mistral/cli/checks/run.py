"""Run all checks in order. A check that needs a system that does not respond is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from oslo_config import cfg

from st2actions_mistral.cli.checks import (
    access,
    delivery,
    host,
    mistral,
    mistral_options,
    notifier,
    provider,
    stackstorm,
)
from st2actions_mistral.cli.checks.finding import OK, Finding, find, skip
from st2actions_mistral.cli.clients import project_clients, require_mistral
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.settings import without_retries
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import load_settings


def run_checks(
    conf: cfg.ConfigOpts, *, probe: bool = False, project: str | None = None
) -> Iterator[Finding]:
    """Check the installation from the host that this runs on.

    :param conf: a configuration, see ``config.read_files``.
    :param probe: also run ``core.noop`` through both systems and the relay.
    :param project: the id or the name of the project to check, and to run it in; None: the project of
        the relay's token.
    """
    yield find("entry points", host.entry_points)
    options = find("options", partial(host.options, conf))
    yield options
    if options.result != OK:
        return
    settings = load_settings(conf)
    st2_settings = without_retries(settings.st2)
    mistral_settings = without_retries(settings.mistral)
    site = settings.bridge.site
    with (
        closing(St2Client(st2_settings)) as st2,
        closing(MistralClient(mistral_settings, credential=settings.credential)) as mistral_client,
    ):
        clients = project_clients(mistral_client, settings.relay)
        first = find("StackStorm", partial(stackstorm.credential, st2))
        yield first
        for check, look in (
            ("permissions", partial(stackstorm.permissions, st2, site)),
            ("event stream", partial(stackstorm.event_stream, st2_settings)),
        ):
            yield find(check, look) if first.result == OK else skip(check, "StackStorm")
        look = partial(notifier.notifier, conf, st2)
        yield find("notifier", look) if first.result == OK else skip("notifier", "StackStorm")
        is_mistral = partial(require_mistral, mistral_settings, settings.credential)
        second = find("Mistral", partial(mistral.actions, mistral_client, is_mistral))
        yield second
        both = first.result == second.result == OK
        if second.result == OK:
            yield find("project", partial(mistral.project, clients))
            yield find("policy", partial(access.policy, clients, project))
        else:
            yield skip("project", "Mistral")
            yield skip("policy", "Mistral")
        yield find("action filter", partial(mistral_options.action_filter, conf))
        if second.result == OK:
            yield find("provider", partial(provider.native_actions, conf, mistral_client))
        else:
            yield skip("provider", "Mistral")
        yield find("database", partial(mistral_options.database, conf))
        yield find("scheduler", partial(mistral_options.scheduler, conf))
        yield find("size limit", partial(host.size_limit, conf, settings))
        for check, look in (
            ("clocks", partial(delivery.clocks, st2, mistral_client)),
            ("relay", partial(delivery.undelivered_results, st2, clients, settings.relay)),
        ):
            yield find(check, look) if both else skip(check, "both systems")
        if probe:
            run = partial(_probe, st2, clients, site, project)
            yield find("probe", run) if both else skip("probe", "both systems")


def _probe(st2: St2Client, clients: ProjectClients, site: str, project: str | None) -> str:
    client, where = access.client_for_probe(clients, project)
    return f"{delivery.probe(st2, client, site)}{where}"
