"""LiveKit's tools as Gemini's declarations, and their results as the session takes them."""

from __future__ import annotations

from typing import Any

from livekit.agents import llm

from unbroken_livekit.log import logger

__all__ = ["declarations", "result_of"]


def declarations(tools: llm.ToolContext, *, behavior: str | None) -> list[Any]:
    """Returns the tools of a setup, as google-genai's ``LiveConnectConfig.tools`` takes them.

    Functions are declared by JSON schema. A provider's own tool (search, code execution) is one that gives its form by
    ``to_tool_config()``, as those of livekit-plugins-google do; others are left out, and that is said.

    Args:
        tools: LiveKit's.
        behavior: "BLOCKING" or "NON_BLOCKING"; None: as the model does by itself.
    """
    declared: list[Any] = []
    functions = tools.parse_function_tools("google")
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


def result_of(output: llm.FunctionCallOutput, *, scheduling: str | None) -> tuple[dict[str, Any], str | None]:
    """Returns a call's result, and how the model is to take it in.

    Args:
        output: LiveKit's result.
        scheduling: what the application asked for in general ("WHEN_IDLE", …); None: nothing.
    """
    wanted: bool = getattr(output, "reply_required", True)  # since livekit-agents 1.7
    return {"error" if output.is_error else "output": output.output}, scheduling if wanted else "SILENT"
