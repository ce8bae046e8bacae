"""Real packets on a bad road: two network namespaces, joined by a relay that delays, loses or swallows what goes through.

Linux only, and only where network namespaces and TUN devices may be made (root, or CAP_NET_ADMIN and CAP_SYS_ADMIN). Nothing
of the machine's own network is touched, and nothing is left: the namespaces are gone with the relay. No kernel module and no
tool is needed but ``/dev/net/tun``::

    with Relay(delay=0.02, jitter=0.03, loss=0.02) as relay:
        listener = relay.listen()                       # in the far namespace
        transport = WebSocketTransport(connect=relay.connect)   # dials from the near one
        ...
        relay.block("up")
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import anyio

from unbroken.errors import ConfigError
from unbroken.transports.path import bound_silence
from unbroken.transports.tcp import TcpStream

__all__ = ["FAR", "NEAR", "Relay", "Way", "missing"]

Way: TypeAlias = Literal["both", "up", "down", "neither"]
"""``up`` is from the near end to the far one."""

NEAR: Final = "10.77.0.1"
FAR: Final = "10.77.0.2"
"""The ends' addresses. Each namespace has a network of its own, so relays do not get in each other's way."""

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_SIOCSIFADDR: Final = 0x8916  # linux/sockios.h
_SIOCSIFNETMASK: Final = 0x891C
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1

_LARGEST: Final = 65536
"""Bytes of a packet; a device's usual limit is 1500."""


def missing() -> str:
    """Returns what is missing for a relay on this machine, in one sentence; "": nothing."""
    if sys.platform != "linux":
        return "a relay needs Linux"
    if not Path("/dev/net/tun").exists():
        return "a relay needs /dev/net/tun"
    try:
        _in_thread(lambda: _libc("unshare", _CLONE_NEWNET))
    except OSError as error:
        return f"a relay needs the right to make network namespaces, such as root's ({error.strerror})"
    return ""


class _End:
    """One namespace and its TUN device."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.namespace, self.device = _in_thread(self._make)

    def _make(self) -> tuple[int, int]:
        _libc("unshare", _CLONE_NEWNET)
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        device = -1
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            name = b"road"
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TUN | _IFF_NO_PI))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                for request, address in ((_SIOCSIFADDR, self.address), (_SIOCSIFNETMASK, "255.255.255.0")):
                    place = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
                    fcntl.ioctl(control, request, struct.pack("16s16s8x", name, place))
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name, _IFF_UP))
        except BaseException:
            os.close(namespace)
            if device >= 0:
                os.close(device)
            raise
        return namespace, device

    def socket(self) -> socket.socket:
        def make() -> socket.socket:
            _libc("setns", self.namespace, _CLONE_NEWNET)
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

        return _in_thread(make)

    def close(self) -> None:
        os.close(self.device)
        os.close(self.namespace)


class Relay:
    """A road of real packets between two namespaces. Use it in a ``with`` block; a thread carries the packets meanwhile.

    Args:
        delay: seconds that each packet takes, one way.
        jitter: seconds; each packet takes up to so much longer. Packets do not overtake each other.
        loss: share of the packets that are lost, each way.
        seed: of the dice.

    Attributes:
        delay: as given; it may be changed at any time, as the next two.
        jitter: as given.
        loss: as given.
        carried: packets that have arrived.
        lost: packets that were lost or swallowed.

    Raises:
        ConfigError: there can be no relay here; the text says what is missing.
    """

    def __init__(self, *, delay: float = 0.02, jitter: float = 0.0, loss: float = 0.0, seed: int = 1) -> None:
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self.carried = 0
        self.lost = 0
        self._blocked: Way = "neither"
        self._dice = random.Random(seed)
        if reason := missing():
            raise ConfigError(reason)
        self._near = _End(NEAR)
        try:
            self._far = _End(FAR)
        except BaseException:
            self._near.close()
            raise
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._carry, name="relay", daemon=True)
        self._over = False

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        os.write(self._woken, b"x")
        self._thread.join()
        for end in (self._near, self._far):
            end.close()
        os.close(self._wake)
        os.close(self._woken)

    def __repr__(self) -> str:
        return f"<Relay {self.delay * 1000:.0f} ms, {self.carried} carried, {self.lost} lost, blocked: {self._blocked}>"

    def block(self, way: Way) -> float:
        """Swallows all packets of a way from now on, those that are under way included.

        Args:
            way: which; "neither" opens the road again.

        Returns:
            When, on `time.monotonic`.
        """
        self._blocked = way
        return time.monotonic()

    @property
    def entrance(self) -> str:
        """The near end's namespace as a file, for another process with the rights to go there by ``setns``."""
        return f"/proc/{os.getpid()}/fd/{self._near.namespace}"

    def listen(self, port: int = 0, *, backlog: int = 128) -> socket.socket:
        """Returns a socket that listens at the far end; the caller closes it."""
        listener = self._far.socket()
        listener.settimeout(0)
        listener.bind((FAR, port))
        listener.listen(backlog)
        return listener

    async def connect(self, host: str, port: int) -> TcpStream:
        """Connects from the near end, as `WebSocketTransport` wants it.

        Args:
            host: any name; there is only the far end.
            port: where somebody listens there.

        Raises:
            OSError: nobody does.
        """
        raw = self._near.socket()
        try:
            raw.settimeout(0)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bound_silence(raw)
            with suppress(BlockingIOError):
                raw.connect((FAR, port))
            await anyio.wait_writable(raw)
            if code := raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
        except BaseException:
            raw.close()
            raise
        return TcpStream(raw)

    async def accept(self, listener: socket.socket) -> TcpStream:
        """Returns the next connection of a socket that `listen` returned."""
        while True:
            await anyio.wait_readable(listener)
            try:
                raw, _ = listener.accept()
            except BlockingIOError:
                continue
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return TcpStream(raw)

    # -- the thread -----------------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        devices = {self._near.device: self._far.device, self._far.device: self._near.device}
        poll = select.poll()
        for fd in (*devices, self._wake):
            poll.register(fd, select.POLLIN)
        under_way: list[tuple[float, int, int, bytes]] = []
        last = dict.fromkeys(devices, 0.0)
        numbers = count()
        while not self._over:
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                _, _, to, packet = heapq.heappop(under_way)
                if self._swallows(to):
                    continue
                with suppress(OSError):  # the device's queue is full, which a road may be, too
                    os.write(to, packet)
                    self.carried += 1
            wait = max(0.0, under_way[0][0] - now) * 1000 if under_way else None
            for fd, _ in poll.poll(wait):
                if fd not in devices:
                    continue
                with suppress(BlockingIOError):
                    while packet := os.read(fd, _LARGEST):
                        to = devices[fd]
                        if self._dice.random() < self.loss or self._swallows(to):
                            self.lost += 1
                            continue
                        due = time.monotonic() + self.delay + self._dice.random() * self.jitter
                        last[to] = due = max(due, last[to])
                        heapq.heappush(under_way, (due, next(numbers), to, packet))

    def _swallows(self, to: int) -> bool:
        return self._blocked == "both" or self._blocked == ("up" if to == self._far.device else "down")


def _libc(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[function](*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _in_thread(call: Callable[[], T]) -> T:
    """Calls something in a thread of its own, which may leave the process's network namespace and takes nobody along."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # because it is raised again where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
