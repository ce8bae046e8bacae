"""LiveKit's tools as Gemini's declarations, and their results as the session takes them."""

from __future__ import annotations

from typing import Any, cast

from livekit.agents import llm
from livekit.agents.llm import utils

from unbroken_livekit.log import logger

__all__ = ["declarations", "result_of", "wants_reply"]


def declarations(tools: llm.ToolContext, *, behavior: str | None) -> list[Any]:
    """Returns the tools of a setup, as google-genai's ``LiveConnectConfig.tools`` takes them.

    Functions are declared by JSON schema. A provider's own tool (search, code execution) is one that gives its form by
    ``to_tool_config()``, as those of livekit-plugins-google do; others are left out, and that is said.

    Args:
        tools: LiveKit's.
        behavior: "BLOCKING" or "NON_BLOCKING"; None: as the model does by itself.
    """
    declared: list[Any] = []
    functions = [_function(tool) for tool in cast("Any", tools).function_tools.values()]
    if behavior is not None:
        functions = [function | {"behavior": behavior} for function in functions]
    if functions:
        declared.append({"function_declarations": functions})
    for tool in tools.provider_tools:
        form = getattr(tool, "to_tool_config", None)
        if form is None:
            logger.warning("the tool %s is another provider's and is left out", type(tool).__name__)
        else:
            declared.append(form())
    return declared


def _function(tool: Any) -> dict[str, Any]:
    """Declares a function. LiveKit's own form of it needs livekit-plugins-google in livekit-agents 1.7."""
    if isinstance(tool, llm.RawFunctionTool):
        raw = tool.info.raw_schema
        declared = {"name": tool.info.name, "description": raw.get("description", "")}
        parameters: dict[str, Any] = raw.get("parameters") or {}
    else:
        schema = cast("Any", utils).build_legacy_openai_schema(tool, internally_tagged=True)
        declared = {"name": schema["name"], "description": schema["description"]}
        parameters = schema["parameters"]
    # an object without properties is refused: no parameters are declared by saying nothing of them
    return declared | ({"parameters_json_schema": parameters} if parameters.get("properties") else {})


def result_of(output: llm.FunctionCallOutput, *, scheduling: str | None) -> tuple[dict[str, Any], str | None]:
    """Returns a call's result, and how the model is to take it in.

    Args:
        output: LiveKit's result.
        scheduling: what the application asked for in general ("WHEN_IDLE", …); None: nothing.
    """
    return {"error" if output.is_error else "output": output.output}, scheduling if wants_reply(output) else "SILENT"


def wants_reply(output: llm.FunctionCallOutput) -> bool:
    """Says whether the model should speak of a result."""
    return getattr(output, "reply_required", True)  # since livekit-agents 1.7
