"""A stdio MCP server with one tool."""

import json
import os
import sys

TOOL = {
    "name": "echo",
    "description": "Says a text back, with the session it was started for and the process that started it.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
}


def echo(arguments):
    session = os.environ.get("CLAUDE_CODE_SESSION_ID", "none")
    return f"{arguments['text']} {session} {os.getppid()}"


def answer(request):
    """The result of a request, or None where the method is unknown."""
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "echo", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": echo(params["arguments"])}]}
    if method == "ping":
        return {}
    return None


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        reply = {"jsonrpc": "2.0", "id": request["id"]}
        result = answer(request)
        if result is None:
            reply["error"] = {"code": -32601, "message": "unknown method"}
        else:
            reply["result"] = result
        print(json.dumps(reply), flush=True)


main()
