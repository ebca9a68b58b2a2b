"""Spans and metrics by OpenTelemetry's stable conventions for databases: ``instrument(timber)``."""

from __future__ import annotations

from timber.integrations.opentelemetry.reporting import Instrumentation, instrument

__all__ = ["Instrumentation", "instrument"]
