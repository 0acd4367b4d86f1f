"""TLS settings from options."""

from __future__ import annotations

import ssl

from .._http.clients import usual_tls
from .exits import CommandError

__all__ = ["tls_context"]


def tls_context(*, ca: str | None, cert: str | None, key: str | None, insecure: bool) -> ssl.SSLContext | None:
    """Return what the options say; ``None`` if they say nothing.

    Args:
        ca: File of the certificates to trust, in place of those that are trusted without these options.
        cert: File of the client's own certificate.
        key: File of its key, if it is not in the same file.
        insecure: Trust every server.

    Raises:
        CommandError: A file cannot be used.
    """
    if key is not None and cert is None:
        raise CommandError("--key goes with --cert")
    if ca is None and cert is None and not insecure:
        return None
    try:
        context = ssl.create_default_context(cafile=ca) if ca is not None or insecure else usual_tls()
    except (OSError, ssl.SSLError) as error:
        where = "what SSL_CERT_FILE or SSL_CERT_DIR names" if ca is None else ca
        raise CommandError(f"{where} holds no certificates to trust: {error.strerror or error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise CommandError(f"{cert} cannot be used as a certificate with its key: {error}") from error
    return context
