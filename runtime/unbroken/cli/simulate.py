"""``unbroken simulate``: serve a simulated service to any client, faults included.

It is served on loopback, over TLS with a certificate made for the occasion, until it is interrupted.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import anyio

from unbroken import registry
from unbroken.cli import Subparsers
from unbroken.errors import ConfigError
from unbroken.testing.faults import FAULTS
from unbroken.testing.service import SimulatedService, serve
from unbroken.testing.simulator import Simulator, SimulatorFactory

__all__ = ["add"]

_GROUP = "unbroken.simulators"

_EPILOG = """\
A fault is written KIND[:ARGUMENT][@WHEN][xTIMES]. WHEN is a time since the start (3s), a message of the client (#20),
or what a connection is at (dial, upgrade, setup, live, reply, user, tool), with a delay if wanted (reply+0.5s); without
WHEN the fault strikes as soon as it can. x3 strikes three connections, x* all. The kinds:

{kinds}

Examples: --fault 1011@10s   --fault reset@reply+0.5s   --fault 'http-429:7@upgradex3'   --fault 'goaway:5s@20s'
"""

_HOW = """\
{name} is simulated at {url}
  certificate authority: {ca}

  unbroken:
    import ssl, unbroken, unbroken_{provider}
    tls = ssl.create_default_context(cafile={ca!r})
    target = unbroken_{provider}.target({model!r}, api_key="any", base_url={url!r}, ssl=tls)
"""

_GEMINI = """
  google-genai:
    from google import genai
    http = genai.types.HttpOptions(base_url={url!r}, api_version="v1beta",
                                   async_client_args={{"ssl": tls, "proxy": None}})
    client = genai.Client(api_key="any", http_options=http)  # client.aio.live.connect(model={model!r}, …)
"""

_MODELS = {"gemini": "gemini-3.8-live"}
"""A model for the example, where none is asked for."""


def add(subparsers: Subparsers) -> None:
    """Adds the command."""
    kinds = "\n".join(f"  {kind.usage:26} {kind.doc}" for kind in FAULTS.values())
    parser = subparsers.add_parser(
        "simulate",
        help="serve a simulated service to any client, faults included",
        description="Serves a simulated service on 127.0.0.1 over TLS, and tells what happens, until it is interrupted.",
        epilog=_EPILOG.format(kinds=kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--provider", metavar="NAME", default="gemini", help="whose service (default: gemini)")
    parser.add_argument("--port", metavar="N", type=int, default=0, help="where it listens (default: any free port)")
    parser.add_argument("--fault", metavar="FAULT", action="append", default=[], help="what is going to strike; repeatable")
    parser.add_argument("--harsh", action="store_true", help="switch on every known pitfall of the real service")
    parser.add_argument("--model", metavar="NAME", action="append", default=[], help="serve only this model; repeatable")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all dice (default: 0)")
    parser.add_argument("--plain", action="store_true", help="without TLS (google-genai insists on TLS)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    if not 0 <= arguments.port <= 65535:
        raise ConfigError(f"there is no port {arguments.port}; give one from 0 to 65535")
    factory: SimulatorFactory = registry.load(_GROUP, arguments.provider)
    simulator = factory(models=arguments.model, harsh=arguments.harsh, seed=arguments.seed)
    anyio.run(partial(_serve, simulator, arguments))
    return 0


async def _serve(simulator: Simulator, arguments: argparse.Namespace) -> None:
    async with serve(
        simulator,
        faults=arguments.fault,
        tls=not arguments.plain,
        port=arguments.port,
        seed=arguments.seed,
        watch=_tell,
    ) as service:
        print(_how(service, arguments), flush=True)
        try:
            await anyio.sleep_forever()
        finally:
            _account(service)


def _how(service: SimulatedService, arguments: argparse.Namespace) -> str:
    provider = arguments.provider
    model = next(iter(arguments.model), _MODELS.get(provider, "MODEL"))
    if service.ca_file is None:
        return f"{provider} is simulated at {service.base_url}, without TLS"
    text = _HOW + (_GEMINI if provider == "gemini" else "")
    return text.format(name=provider, provider=provider, url=service.base_url, ca=str(service.ca_file), model=model)


def _tell(at: float, connection: int, what: str) -> None:
    where = f"connection {connection}" if connection else "service"
    print(f"{at:9.2f} s  {where:14} {what}", flush=True)


def _account(service: SimulatedService) -> None:
    report = service.report()
    print(
        f"\n{len(report.links)} connections, {report.turns} spoken turns, {report.replies} replies, "
        f"{len(report.calls)} tool calls",
        file=sys.stderr,
    )
    if report.heard_ms or report.told_ms:
        print(
            f"stamped audio: {report.heard_ms:.0f} ms heard, {report.told_ms:.0f} told, {report.lost_ms:.0f} lost, "
            f"{report.repeated_ms:.0f} repeated",
            file=sys.stderr,
        )
