from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.schema import CreateIndex

from timber.errors import ConfigurationError
from timber.models import ModelRegistry

FIELDS = {
    "Session": "id user_id session_type status metadata symbol version created_at updated_at completed_at deleted_at",
    "SessionEvent": "id session_id from_status to_status reason actor at",
    "ResearchData": "id session_id user_id research_type title content metadata source_hash version created_at "
    "updated_at deleted_at",
    "Notification": "id user_id notification_type title content metadata priority is_read read_at expires_at created_at",
    "Tracker": "id user_id goal_id symbol tracker_type conditions metadata status check_interval next_check_at "
    "last_checked_at version created_at updated_at",
    "TrackerEvent": "id tracker_id event_type event_data triggered created_at",
}


@pytest.fixture(scope="module")
def registry() -> ModelRegistry:
    return ModelRegistry()


@pytest.mark.parametrize("name", FIELDS)
def test_a_row_has_the_fields_of_its_domain(registry: ModelRegistry, name: str) -> None:
    assert set(registry.read_dto(name).model_fields) == set(FIELDS[name].split())


@pytest.mark.parametrize(
    ("model", "index"),
    [
        ("Session", "sessions USING btree (user_id, created_at DESC) WHERE deleted_at IS NULL"),
        (
            "Session",
            "sessions USING btree (user_id, symbol, created_at DESC) WHERE deleted_at IS NULL",
        ),
        ("ResearchData", "research_data USING gin (search_vector)"),
        ("Notification", "notifications USING btree (user_id, created_at DESC) WHERE NOT is_read"),
        ("Notification", "notifications USING btree (expires_at) WHERE expires_at IS NOT NULL"),
        (
            "Tracker",
            "trackers USING btree (next_check_at) WHERE status = 'active' AND next_check_at IS NOT NULL",
        ),
        ("TrackerEvent", "tracker_events USING btree (tracker_id, created_at DESC)"),
    ],
)
def test_a_query_of_the_domain_has_its_index(
    registry: ModelRegistry, model: str, index: str
) -> None:
    dialect = asyncpg.dialect()
    written = [str(CreateIndex(i).compile(dialect=dialect)) for i in registry.table(model).indexes]
    assert any(sql.endswith(f" ON {index}") for sql in written), written


def test_the_symbol_of_a_session_is_read_from_its_metadata(registry: ModelRegistry) -> None:
    symbol = registry.table("Session").c.symbol
    assert symbol.computed is not None
    assert symbol.computed.persisted
    assert str(symbol.computed.sqltext) == "metadata->>'symbol'"


def test_what_only_the_library_needs_is_in_the_table_and_in_no_dto(registry: ModelRegistry) -> None:
    for name in registry.list_models():
        config = registry.model_config(name)
        hidden = {column.name for column in config.columns if column.hidden}
        assert hidden <= set(registry.table(name).c.keys())
        for dto in (registry.create_dto(name), registry.update_dto(name), registry.read_dto(name)):
            assert hidden.isdisjoint(dto.model_fields)
    assert registry.model_config("Session").column("version_token").hidden
    assert registry.model_config("ResearchData").column("search_vector").hidden
    assert registry.model_config("Notification").column("transaction_id").hidden
    assert registry.model_config("Tracker").column("claimed_until").hidden


def test_the_language_of_the_search_is_a_setting() -> None:
    search = ModelRegistry(search_language="english").model_config("ResearchData").features.search
    assert search is not None
    assert search.language == "english"
    plain, english = (
        function
        for language in ("simple", "english")
        for function in ModelRegistry(search_language=language).functions()
        if function.name.startswith("timber_search_")
    )
    assert "'english'::regconfig" in english.create
    assert plain.name != english.name


def test_constraints_have_names_that_do_not_change(registry: ModelRegistry) -> None:
    table = registry.table("ResearchData")
    assert {str(constraint.name) for constraint in table.constraints} == {
        "pk_research_data",
        "fk_research_data_session_id",
        "ck_research_data_version",
    }
    for some in registry.metadata.tables.values():
        assert all(constraint.name for constraint in some.constraints)
        assert all(index.name for index in some.indexes)


def test_rows_that_belong_to_somebody_say_to_whom(registry: ModelRegistry) -> None:
    owners = {name: registry.model_config(name).owner for name in FIELDS}
    assert owners == {
        "Session": "user_id",
        "SessionEvent": None,
        "ResearchData": "user_id",
        "Notification": "user_id",
        "Tracker": "user_id",
        "TrackerEvent": None,
    }


def test_references_delete_what_belongs_to_the_row(registry: ModelRegistry) -> None:
    keys = [key for table in registry.metadata.tables.values() for key in table.foreign_keys]
    assert {(key.parent.table.name, key.column.table.name, key.ondelete) for key in keys} == {
        ("session_events", "sessions", "CASCADE"),
        ("research_data", "sessions", "CASCADE"),
        ("tracker_events", "trackers", "CASCADE"),
    }
    assert all(isinstance(key, sa.ForeignKey) for key in keys)


@pytest.mark.parametrize(
    "language", ["", "{}", "{0.x}", "simple'; SELECT 1; --", "a b", "simple\n"]
)
def test_a_language_that_is_no_name_is_refused(language: str) -> None:
    with pytest.raises(ConfigurationError, match="search_language"):
        ModelRegistry(search_language=language)
