"""Certificates of servers on 127.0.0.1: one to believe, and those that nobody should."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme

_HOST = "127.0.0.1"
_LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


class Certificates:
    """What a CA of our own gives, and what others do: each the server's side of TLS."""

    def __init__(self) -> None:
        ca = trustme.CA()
        self._ca = ca
        self.good = _side(ca.issue_cert(_HOST))
        self.expired = _side(ca.issue_cert(_HOST, not_after=_LONG_AGO))
        self.of_another_host = _side(ca.issue_cert("st2.example"))
        self.of_another_ca = _side(trustme.CA().issue_cert(_HOST))
        self.self_signed = _self_signed()

    def cafile(self, folder: Path) -> str:
        """The path of our CA's own certificate, written into a folder."""
        path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(path))
        return str(path)


def _side(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def _self_signed() -> ssl.SSLContext:
    # trustme signs nothing with itself but a CA.
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ca.cert_pem.tempfile() as cert, ca.private_key_pem.tempfile() as key:
        context.load_cert_chain(cert, key)
    return context
