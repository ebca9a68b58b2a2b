"""Who did what to which row: append-only rows, sealed in a chain after their transactions have finished."""

from timber.features.audit.keys import AuditKey, AuditKeys
from timber.features.audit.log import AuditEntry, AuditLog
from timber.features.audit.provider import AuditProvider, provider_of_settings
from timber.features.audit.reports import Anchor, AuditProblem, AuditReport
from timber.features.audit.sealing import Sealer
from timber.features.audit.verifying import read_anchor, verify

__all__ = [
    "Anchor",
    "AuditEntry",
    "AuditKey",
    "AuditKeys",
    "AuditLog",
    "AuditProblem",
    "AuditProvider",
    "AuditReport",
    "Sealer",
    "provider_of_settings",
    "read_anchor",
    "verify",
]
