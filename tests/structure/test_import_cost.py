"""What `import unbroken` loads, seen from a fresh interpreter."""

import json
import subprocess
import sys

EXTRAS = {"google", "grpc", "httpx", "livekit", "numpy", "pydantic", "soundfile", "soxr", "trio"}
EXTRAS |= {"hypothesis", "opentelemetry", "pytest", "trustme"}


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_import_unbroken_loads_no_extra() -> None:
    assert loaded_by("import unbroken") & EXTRAS == set()


def test_a_runtime_that_nobody_observes_loads_no_extra() -> None:
    assert loaded_by("import unbroken; unbroken.Runtime()") & EXTRAS == set()


def test_import_unbroken_loads_no_command_line() -> None:
    assert loaded_by("import unbroken") & {"argparse", "rich", "unbroken_gemini"} == set()


PUBLIC = [
    "Audio",
    "AudioLost",
    "Closure",
    "ConfigError",
    "Connected",
    "Deadlines",
    "Decision",
    "Escalate",
    "Escalated",
    "Event",
    "FailOver",
    "Fault",
    "Finish",
    "Fleet",
    "Interrupted",
    "ModelTranscript",
    "Observer",
    "OutageBegan",
    "OutboxFull",
    "Policy",
    "Recovered",
    "ReplyBegan",
    "ReplyEnded",
    "Retry",
    "Route",
    "Rule",
    "Runtime",
    "Session",
    "SessionClosed",
    "SessionEscalated",
    "Settings",
    "Situation",
    "Steps",
    "Target",
    "TargetState",
    "Text",
    "ToolCall",
    "ToolCallCancelled",
    "Turn",
    "UnbrokenError",
    "Usage",
    "UserActivity",
    "UserTranscript",
    "Waiting",
    "Wording",
    "connect",
]
"""Every name is a promise: it is added here on purpose, and removed with a news fragment."""


def test_the_public_names_are_what_they_say() -> None:
    import unbroken

    assert unbroken.__all__ == PUBLIC
    assert [name for name in unbroken.__all__ if not hasattr(unbroken, name)] == []
    undocumented = [n for n in unbroken.__all__ if callable(getattr(unbroken, n)) and not getattr(unbroken, n).__doc__]
    assert undocumented == []
