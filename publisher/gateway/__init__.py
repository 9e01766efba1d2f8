"""The HTTP gateway: publish, ask for predictions and fetch them, for everybody who is not Python.

bodies, intake   what comes in, checked      desk       publishing and waiting, for all callers together
app              the routes                  find       a result that is asked for later
access           who may, and how often      routes     what each route does
problems         what goes wrong             reference  /docs and /openapi.json
counts           what /metrics shows         server     the process
"""

from __future__ import annotations

from headrace.publisher.gateway.app import create_gateway
from headrace.publisher.gateway.server import serve

__all__ = ["create_gateway", "serve"]
