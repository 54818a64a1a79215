"""How a client reaches its server: TLS, keepalive, deadlines and the retry rule. Used by both clients."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from client.errors import CallFailed

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]

DEFAULT_ADDRESS = "127.0.0.1:8001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates, as PEM bytes. Without `root_certificates` the system's authorities count.

    `certificate` and `key` go together and show who the client is. `server_name` is the name the server's
    certificate bears, where it is not the address.
    """

    root_certificates: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client certificate and its key go together: one of them is missing")

    @classmethod
    def from_files(
        cls,
        root_certificates: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        server_name: str | None = None,
    ) -> "Tls":
        """Read the PEM files. Raises OSError naming the file that cannot be read."""
        contents = [Path(file).read_bytes() if file else None for file in (root_certificates, certificate, key)]
        return cls(root_certificates=contents[0], certificate=contents[1], key=contents[2], server_name=server_name)

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.root_certificates, self.key, self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """HTTP/2 pings, in seconds. Servers may refuse pings that come too often (gRPC's default: every 5 minutes)."""

    interval_s: float = 300.0
    timeout_s: float = 20.0
    without_calls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Attempts at a call that ends with UNAVAILABLE, with waits that grow exponentially up to `max_delay_s`.

    Each wait is drawn between half of it and all of it, so that many clients do not come back at once.
    """

    attempts: int = 5
    first_delay_s: float = 0.1
    factor: float = 2.0
    max_delay_s: float = 2.0

    def delays(self) -> Iterator[float | None]:
        """Give the wait after each attempt; None after the last."""
        for attempt in range(self.attempts - 1):
            delay = min(self.max_delay_s, self.first_delay_s * self.factor**attempt)
            yield delay * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads load, guards nothing
        yield None


NO_RETRY = Retry(attempts=1)


class Deadline:
    """A moment by which a call with all its attempts must end; without `timeout_s` there is none."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def left(self) -> float | None:
        """Seconds left, never negative; None without a deadline."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def allows(self, delay_s: float) -> bool:
        left = self.left()
        return left is None or delay_s < left


def wait_before_retry(failure: CallFailed, delay_s: float | None, deadline: Deadline, *, can_repeat: bool) -> float:
    """Decide what follows a failed attempt: the seconds to wait before the next one, or `failure`.

    `can_repeat` says that the server has taken nothing yet, so that the call can be made again from its beginning.
    """
    is_unavailable = failure.code is grpc.StatusCode.UNAVAILABLE
    if delay_s is None or not is_unavailable or not can_repeat or not deadline.allows(delay_s):
        raise failure
    return delay_s


def channel_options(tls: Tls | None, keepalive: Keepalive | None) -> list[tuple[str, int | str]]:
    """Collect gRPC's channel arguments."""
    options: list[tuple[str, int | str]] = [
        # Files go up in one message and long transcripts come down in one; the server sets the limits.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # gRPC waits a second before it dials again by default: longer than our first retries.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5000),
    ]
    if tls and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    if keepalive:
        options += [
            ("grpc.keepalive_time_ms", round(keepalive.interval_s * 1000)),
            ("grpc.keepalive_timeout_ms", round(keepalive.timeout_s * 1000)),
            ("grpc.keepalive_permit_without_calls", int(keepalive.without_calls)),
        ]
    return options
