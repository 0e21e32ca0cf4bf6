"""The version: the only place that says it."""

from __future__ import annotations

from typing import Final

__all__ = ["USER_AGENT", "__version__"]

__version__: Final = "0.1.0"
USER_AGENT: Final = f"trio-closeevents/{__version__}"
