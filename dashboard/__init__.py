"""The live dashboard: frames in, pages out.

bus -> feed (one subscription) -> state (a pure fold) -> sections (bytes, once a frame) -> socket -> browsers
                                                         pages, layout, figures (Dash)  -> page
"""

from __future__ import annotations

from headrace.dashboard.app import create_app
from headrace.dashboard.server import serve

__all__ = ["create_app", "serve"]
