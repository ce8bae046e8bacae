"""docs/telemetry.md says what `unbroken.telemetry` tells, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unbroken.abc import Observer
from unbroken.telemetry import METRICS, SPANS, Metric, Telemetry

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")


def row(metric: Metric) -> str:
    attributes = ", ".join(f"`{name}`" for name in metric.attributes)
    return f"| `{metric.name}` | {metric.kind} | `{metric.unit}` | {metric.meaning} | {attributes} |"


def test_every_span_and_every_metric_has_its_row_and_no_other_is_there() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [*(f"| `{name}` | {meaning} |" for name, meaning in SPANS.items()), *map(row, METRICS)]


def test_the_code_runs() -> None:
    first, second = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(first.partition("async with")[0], names)
    assert names["Telemetry"] is Telemetry
    compile(f"async def main():\n{re.sub('^', '    ', first, flags=re.MULTILINE)}", "telemetry.md", "exec")
    exec(second, names)
    assert issubclass(names["Faults"], Observer)
    faults: Any = names["Faults"]()
    faults.event("s", None, now=0.0)
    faults.closed("s", now=1.0)
    assert faults.seen == {}
