"""A contender that is imported once and plays many calls, each in a process of its own that is forked for it.

A framework's imports take seconds of a processor, and a run has a thousand calls. So the runner starts this with a
contender's module, and writes one line per call: ``{"socket": path, "errors": path, "namespace": path or ""}``. A fork
connects to the socket, takes it for standard input and output, writes its number first (``{"what": "born", "said": pid}``),
and goes on as the contender's file would: see `benchmarks.contenders.stage`. It stands at the head of a process group, so
that it can be ended with all that it started. The company ends with its standard input.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys

from benchmarks.contenders.stage import Play, perform

__all__ = ["main"]

_CLONE_NEWNET = 0x40000000  # linux/sched.h; os.setns is of Python 3.12


def main() -> None:
    """Imports the contender that is named, and forks for each line."""
    module = importlib.import_module(f"benchmarks.contenders.{sys.argv[1]}")
    play: Play = module.play
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks here: the kernel buries them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner says when it is over
    gc.freeze()
    print(json.dumps({"what": "ready"}), flush=True)
    while line := sys.stdin.readline():
        order = json.loads(line)
        if not os.fork():
            _go_on_stage(order["socket"], order["errors"], order["namespace"])
            perform(play)


def _go_on_stage(path: str, errors: str, namespace: str) -> None:
    os.setsid()
    if namespace:
        _enter(namespace)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    talk.connect(path)
    talk.sendall(json.dumps({"what": "born", "said": str(os.getpid())}).encode() + b"\n")
    words = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, place in ((talk.fileno(), 0), (talk.fileno(), 1), (words, 2)):
        os.dup2(number, place)
    talk.close()
    os.close(words)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115


def _enter(namespace: str) -> None:
    """Leaves the machine's network for a namespace that leads to the service by a road on which packets can be lost."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(os.open(namespace, os.O_RDONLY | os.O_CLOEXEC), _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no way into the network namespace")


if __name__ == "__main__":
    main()
