"""Transports: bytes in, bytes out. They know nothing of hub messages."""

from ._base import Transport as Transport
