"""`timber check` says before a rollout whether the application would start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timber.cli.commands import app


def check(*arguments: str, code: int) -> dict[str, tuple[str, str]]:
    """What it says about each thing: its level, and what was found."""
    result = CliRunner().invoke(app, ["check", "--json", *arguments])
    assert result.exit_code == code, result.output
    findings = json.loads(result.stdout)["findings"]
    return {finding["about"]: (finding["level"], finding["found"]) for finding in findings}


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMBER_DATABASE_URL", "TIMBER_MODEL_CONFIG_DIRS", "TIMBER_CACHE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_where_all_is_well_the_application_starts(fresh_database_url: str) -> None:
    found = check("--database-url", fresh_database_url, code=0)
    assert {level for level, _ in found.values()} <= {"ok", "note"}
    assert found["Start"][1] == "a Timber with these settings starts"


def test_tables_that_are_not_there_yet_stop_a_rollout(bare_database_url: str) -> None:
    assert check("--database-url", bare_database_url, code=1)["Tables"][0] == "problem"


def test_models_are_read_without_a_server_where_none_is_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "version: 1\nmodels: [{name: A, table: a, columns: [{name: b, type: Strin}]}]"
    )
    assert set(check("--offline", code=0)) == {"Settings", "Models"}
    found = check("--offline", "--models", str(tmp_path), code=1)
    assert found["ConfigurationError"][0] == "problem"
    assert "m.yaml:2" in found["ConfigurationError"][1]


def test_models_that_nobody_has_named_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    assert check("--offline", code=0)["Models"] == (
        "note",
        "7, read and understood: all are Timber's own.",
    )
    (tmp_path / "m.yaml").write_text(
        "version: 1\nmodels: [{name: A, table: a, columns: [{name: b, type: Text}]}]"
    )
    found = check("--offline", "--models", str(tmp_path), code=0)
    assert found["Models"] == ("ok", "8, read and understood")


def test_a_server_that_cannot_be_reached_stops_a_rollout() -> None:
    url = "postgresql://nobody:geheim@localhost:1/none"
    [(level, said)] = [
        finding
        for about, finding in check("--database-url", url, code=1).items()
        if about == "UnavailableError"
    ]
    assert level == "problem"
    assert "geheim" not in said


def test_a_setting_that_does_not_fit_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBER_POOL_SIZE", "many")
    result = CliRunner().invoke(app, ["check", "--json"])
    assert result.exit_code == 2
    assert "pool_size" in json.loads(result.stdout)["error"]["message"]


def test_a_variable_that_is_spelt_wrongly_does_not_pass_for_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIMBER_POOL_SIZE", "3")
    monkeypatch.setenv("TIMBER_TEST_DATABASE_URL", "postgresql://localhost/tests")
    monkeypatch.setenv("TIMBER_SHOP_WINDOW", "the application's own")
    assert "Environment" not in check("--offline", code=0)
    monkeypatch.setenv("TIMBER_POOL_SIZ", "3")
    assert check("--offline", code=0)["Environment"] == (
        "warning",
        "TIMBER_POOL_SIZ is not a setting (did you mean 'pool_size'?): it does nothing.",
    )


@pytest.mark.parametrize(("env", "warned"), [("prod", True), ("production", False), ("dev", False)])
def test_a_production_that_is_none_is_said(
    monkeypatch: pytest.MonkeyPatch, env: str, warned: bool
) -> None:
    monkeypatch.setenv("TIMBER_ENV", env)
    found = check("--offline", code=0)
    assert ("Environment" in found) is warned
