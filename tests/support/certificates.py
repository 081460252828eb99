"""Valid and invalid certificates for servers on 127.0.0.1."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme

_HOST = "127.0.0.1"
_LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


class Certificates:
    """TLS contexts of servers: one with a valid certificate of a new CA, and several invalid ones."""

    def __init__(self) -> None:
        ca = trustme.CA()
        self._ca = ca
        self.good = _context(ca.issue_cert(_HOST))
        self.expired = _context(ca.issue_cert(_HOST, not_after=_LONG_AGO))
        self.of_another_host = _context(ca.issue_cert("st2.example"))
        self.of_another_ca = _context(trustme.CA().issue_cert(_HOST))
        self.self_signed = _self_signed()

    def cafile(self, folder: Path) -> str:
        """Write the certificate of the CA into a folder, and return the path."""
        path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(path))
        return str(path)


def _context(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def _self_signed() -> ssl.SSLContext:
    # The only self-signed certificate that trustme makes is that of a CA.
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ca.cert_pem.tempfile() as cert, ca.private_key_pem.tempfile() as key:
        context.load_cert_chain(cert, key)
    return context
