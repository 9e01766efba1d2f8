"""Who asks: what a request may do. A dependency for the endpoints that change something."""

from __future__ import annotations

from starlette.requests import Request

LOCAL = "local"


async def operator(request: Request) -> str:
    """The name of the operator who makes this request, for the audit."""
    return LOCAL
