"""`qtrain compress`: model and data in, artifact and record out."""

from __future__ import annotations

from qtrain_cli.runs.compress import compress_model as run

__all__ = ["run"]
