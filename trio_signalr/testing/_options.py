"""What a test hub can be told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """As :class:`HubServer` takes them: seconds, bytes, items."""

    detailed_errors: bool
    max_parallel_invocations: int
    keep_alive_interval: float
    client_timeout: float
    handshake_timeout: float
    send_timeout: float
    max_message_size: float
    stream_buffer_capacity: int
    stateful_reconnect: bool
    disconnect_timeout: float
    poll_timeout: float
    record: bool

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{name} must be greater than 0, not {value!r}")
