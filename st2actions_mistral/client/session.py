"""Send one HTTP request and check its response.

This is the only place that creates a ``requests.Session``. Such a session follows no redirects
(requests would send ``St2-Api-Key`` and ``X-Auth-Token`` to another host), keeps no cookies
(StackStorm sets the token as one), and takes neither proxies nor passwords from the environment or
``~/.netrc``: only what is configured is sent.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
import urllib3.connection
import urllib3.connectionpool
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from st2actions_mistral.client import limits, redact
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.client.translate import rejection, request_errors
from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.model import json_values

LOG: Final = logging.getLogger(__name__)

# Connections kept open to one server. Mistral's executor runs 64 actions at once by default. Further
# connections are opened and closed again.
_POOL_SIZE: Final = 64

# Encodings that an error names. Any other word of a server may repeat the request.
_ENCODINGS: Final = frozenset({"gzip", "deflate", "br", "zstd", "compress"})


class _HeaderFilter(logging.Filter):
    """Drop the headers from urllib3's warning about headers that it cannot parse."""

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Failed to parse headers"):
            record.msg, record.args = "The headers of a response cannot be parsed.", ()
            record.exc_info = None
        return True


_HEADER_FILTER: Final = _HeaderFilter()


class Session(requests.Session):
    """A session that :func:`new_session` made."""

    ca_option = Tls.ca_option
    """See :attr:`Tls.ca_option`."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # requests prepares the next request even if it must not follow, and raises whatever a
        # malformed Location leads to.
        return None


def new_session(tls: Tls) -> Session:
    """Return a session that threads may share."""
    # urllib3 2 and 1.26.
    for module in (urllib3.connection, urllib3.connectionpool):
        logging.getLogger(module.__name__).addFilter(_HEADER_FILTER)
    session = Session()
    session.ca_option = tls.ca_option
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # The size of a compressed response is unknown until it is read. The servers are near and most
    # responses small.
    session.headers["Accept-Encoding"] = "identity"
    session.verify = False if tls.insecure else (tls.cafile or True)
    if tls.insecure:
        _warn_insecure(tls.ca_option)
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def send(
    session: Session,
    method: str,
    url: str,
    timeouts: Timeouts,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    data: bytes | None = None,
    stream: bool = False,
    auth: AuthBase | None = None,
    bounds: limits.Limits = limits.DEFAULT,
) -> requests.Response:
    """Send a request, without a retry.

    :return: a 2xx. Its body is read, within ``bounds``, unless ``stream`` is set.
    :raises NotSent: the server never received the request.
    :raises OutcomeUnknown: the connection broke, or the response is a 5xx or unusable.
    :raises Answered: the response is a 3xx or 4xx.
    """
    shown = redact.secrets(redact.url(url), headers or {})
    with request_errors(method, shown, timeouts, session.ca_option):
        response = session.request(
            method,
            url,
            params=params,
            headers=headers,
            json=json,
            data=data,
            auth=auth,
            timeout=(timeouts.connect_timeout, timeouts.read_timeout),
            allow_redirects=False,
            stream=True,
        )
        accepted = response.status_code < 300
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if accepted and encoding != "identity":
            response.close()
            named = f" ({encoding})" if encoding in _ENCODINGS else ""
            raise OutcomeUnknown(method, shown, f"the response is compressed{named}, unasked.")
        if accepted and stream:
            return response
        try:
            # requests itself would store the body there, without a bound.
            response._content = limits.read_body(
                response, method, shown, timeouts.read_timeout, truncate=not accepted, limits=bounds
            )
        except BaseException:
            response.close()
            raise
        if accepted:
            return response
        error = rejection(method, shown, response)
    raise error


def json_body(
    response: requests.Response,
    method: str,
    url: str,
    expect: type = dict,
    texts: Collection[str] = (),
) -> Any:
    """Return the decoded body of a 2xx, see :func:`check_shape`."""
    name = f"the response ({response.status_code})"
    try:
        body = json_values.decode(response.content)
    except ValueError as error:
        raise OutcomeUnknown(method, url, f"{name} is not JSON.") from error
    return check_shape(body, name, method, url, expect, texts)


def check_shape(
    body: Any, name: str, method: str, url: str, expect: type = dict, texts: Collection[str] = ()
) -> Any:
    """Return ``body`` if it has the expected shape.

    :param name: what it is, for the error.
    :param expect: an object (dict), or a list of objects.
    :param texts: the keys under which each object must have a string.
    :raises OutcomeUnknown: it has another shape: the wrong service responded.
    """
    if not isinstance(body, expect):
        kind = "an object" if expect is dict else "a list"
        raise OutcomeUnknown(method, url, f"{name} is not {kind}.")
    for row in body if isinstance(body, list) else [body]:
        missing = [
            key for key in texts if not isinstance(row, dict) or not isinstance(row.get(key), str)
        ]
        if missing:
            raise OutcomeUnknown(method, url, f"{name} has no {' and no '.join(missing)}.")
    return body


@functools.cache
def _warn_insecure(ca_option: str) -> None:
    """Log a warning, once per process and option: every action opens a session."""
    LOG.warning(
        "Certificates are not checked, as configured: anybody on the network path can read and change"
        " everything, including credentials. Set %s to the server's CA instead.",
        ca_option,
    )
