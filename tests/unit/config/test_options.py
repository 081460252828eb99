from __future__ import annotations

from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.client.settings import Credential


def test_register_opts_is_safe_to_repeat() -> None:
    conf = cfg.ConfigOpts()
    config.register_opts(conf)
    config.register_opts(conf)
    conf([], default_config_files=[])
    assert conf.st2.site == "mistral"


def test_two_configurations_do_not_share_overrides() -> None:
    one, other = cfg.ConfigOpts(), cfg.ConfigOpts()
    for conf in (one, other):
        config.register_opts(conf)
        conf([], default_config_files=[])
    one.set_override("site", "one", group="st2")
    one.set_override("api_key", "hush", group="st2")
    assert config.load_bridge_settings(one).site == "one"
    assert config.load_bridge_settings(other).site == "mistral"
    assert config.load_bridge_settings(other).st2.credential == Credential()
