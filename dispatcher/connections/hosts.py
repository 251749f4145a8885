"""Hosts: names and addresses of web servers, and the connection to one within a deadline."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import SetupError

if TYPE_CHECKING:
    from dispatcher.connections.deadline import Deadline

# Seconds that an address of a host gets at least before the next one is tried, if so much is left.
_ADDRESS_SECONDS: Final = 1.0
_NO_HOST: Final = "the URL is not usable: its host cannot be the name of one; write it as DNS knows it"


def to_ascii(host: str) -> str:
    """A host as requests and certificates spell it. Raises SetupError if no host can be called so."""
    try:
        if not host.isascii():
            # Not the codec of that name, whose older standard makes another host of some names.
            import idna  # noqa: PLC0415 - for the few hosts that need it

            host = idna.encode(host, uts46=True).decode()
        elif not is_address(host):
            host.encode("idna")
    except (UnicodeError, ImportError):
        host = ""
    if not host or any(character <= " " or character == "\x7f" for character in host):
        raise SetupError(_NO_HOST)
    return host


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address of a host that takes one."""
    addresses = look_up(host, port, deadline)
    failure: OSError = TimeoutError("the host has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine lacks
            failure = error
            continue
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            left = deadline.left()
            connection.settimeout(max(left / (len(addresses) - position), min(left, _ADDRESS_SECONDS)))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def look_up(host: str, port: int, deadline: Deadline) -> list[Any]:
    """The addresses of a host, as ``socket.getaddrinfo`` returns them. Raises ``socket.gaierror``, also if none come.

    The system's resolver has no time limit of its own that could be set for one name: it takes up to half a minute.
    """
    if is_address(host):
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    found: list[list[Any] | BaseException] = []

    def ask() -> None:
        try:
            found.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except BaseException as error:  # raised below, in the thread that asked
            found.append(error)

    thread = threading.Thread(target=ask, name="look-up", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not found:
        raise socket.gaierror(socket.EAI_AGAIN, "the name service does not answer in time")
    if isinstance(found[0], UnicodeError):
        raise SetupError(_NO_HOST) from None
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]
