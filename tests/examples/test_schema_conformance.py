"""Requests generated from the example's OpenAPI: no 5xx, and no answer that is not documented."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
"""All but those that know no rules beyond a schema: an analysis that is concluded already may be refused."""


def test_no_generated_request_finds_an_undocumented_answer(
    servers: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
):
    count = generate(servers["fastapi"], tmp_path, "--phases=fuzzing", "--max-examples=3")
    record_property("counts", f"{count} requests")
    assert count >= 40


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_generated_request_of_thousands_finds_an_undocumented_answer(
    servers: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
):
    count = generate(
        servers["fastapi"], tmp_path, "--phases=coverage,fuzzing,stateful", "--max-examples=250"
    )
    record_property("counts", f"{count} requests")
    assert count >= 5_000


def generate(address: str, folder: Path, *options: str) -> int:
    """Run schemathesis; how many requests it has sent."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{address}/openapi.json",
        f"--header=X-User-Id: user-{uuid4()}",
        "--exclude-path=/notifications/live",  # it never ends
        f"--checks={','.join(CHECKS)}",
        "--no-color",
        *options,
    ]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    [count] = re.findall(r"(\d[\d,]*) generated", ran.stdout)
    return int(count.replace(",", ""))
