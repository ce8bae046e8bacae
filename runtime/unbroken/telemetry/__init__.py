"""Outages and recoveries as OpenTelemetry tells them: spans and metrics, by OpenTelemetry's API alone (extra ``otel``).

::

    async with unbroken.Runtime(observers=[Telemetry()]) as runtime: ...

What is exported, and where to, is the application's choice of an SDK; without one this does nothing. Nothing that is said in
a session is told, no key and no handle; a peer's close reason is an attribute of spans and never one of metrics, and no
metric has an attribute that tells sessions apart. docs/telemetry.md has every name.
"""

from importlib.util import find_spec

from unbroken.errors import MissingExtra

if find_spec("opentelemetry") is None:
    raise MissingExtra("unbroken.telemetry", package="opentelemetry", extra="otel")

from unbroken.telemetry.observer import Telemetry
from unbroken.telemetry.tables import METRICS, SPANS, Metric

__all__ = ["METRICS", "SPANS", "Metric", "Telemetry"]
