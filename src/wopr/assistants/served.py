"""The MCP server of a queue over HTTP."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

PATH = "/mcp"
MOST_BODY_BYTES = 1024 * 1024


def http_app(server: MCPServer[Any]) -> Starlette:
    """Return the application that answers at ``/mcp``, each request for itself.

    It looks at no host, origin or token: that is for what stands before it. Its sessions run in
    ``server.session_manager.run()``.
    """
    return server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=MOST_BODY_BYTES,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
