"""Set up the log of the relay with the logging options of mistral.conf, which are oslo.log's.

Commands that run once do not use it: run by root, they would create the log file that the relay must be
able to write.
"""

from __future__ import annotations

import logging
from typing import Final

from oslo_config import cfg
from oslo_log import log

from st2actions_mistral.errors import ConfigError
from st2actions_mistral.relay.systemd import is_journal

# Formats for standard error. Log files and syslog have oslo.log's own formats, which tools parse.
_FORMAT: Final = "%(levelname)s %(name)s: %(instance)s%(message)s"
_FORMAT_WITH_CONTEXT: Final = (
    "%(levelname)s %(name)s: [%(request_id)s %(user_identity)s] %(instance)s%(message)s"
)
_EXCEPTION_PREFIX: Final = "%(levelname)s %(name)s: "
_TIME: Final = "%(asctime)s.%(msecs)03d "

# Libraries that log each request at DEBUG. keystoneauth logs headers, with tokens as hashes.
_LIBRARIES: Final = ("urllib3", "keystoneauth", "stevedore")


def register_options(conf: cfg.ConfigOpts) -> None:
    """Register oslo.log's options. To be called before the configuration files are read."""
    log.register_options(conf)


def set_up(conf: cfg.ConfigOpts, *, debug: bool = False) -> None:
    """Send the log where the options say, and to standard error if they say nothing.

    :param conf: a configuration with the options of :func:`register_options`.
    :param debug: log at DEBUG whatever the options say.
    :raises ConfigError: an option is invalid, or the log cannot be written.
    """
    try:
        if debug:
            conf.set_override("debug", True)
        if not (conf.log_file or conf.log_dir or conf.use_journal):
            _default_to_stderr(conf)
        log.setup(conf, "st2-mistral")
        named = {pair.partition("=")[0] for pair in conf.default_log_levels}
    except (cfg.Error, log.LogConfigError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"The logging options of [DEFAULT] cannot be used: {error}") from error
    if not conf.log_config_append:
        for library in _LIBRARIES:
            if library not in named:
                logging.getLogger(library).setLevel(logging.WARNING)


def _default_to_stderr(conf: cfg.ConfigOpts) -> None:
    """Default to standard error. systemd's journal has a time for each line, so that none is added."""
    conf.set_default("use_stderr", True)
    time = "" if is_journal(2) else _TIME
    conf.set_default("logging_default_format_string", time + _FORMAT)
    conf.set_default("logging_context_format_string", time + _FORMAT_WITH_CONTEXT)
    conf.set_default("logging_exception_prefix", time + _EXCEPTION_PREFIX)
    conf.set_default("logging_debug_format_suffix", "")
