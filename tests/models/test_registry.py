from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.models.projects import registry_of, write_models
from timber.errors import ConfigurationError
from timber.models import Mixin, ModelConfig, ModelRegistry
from timber.models.column_types import ColumnType
from timber.models.columns import ColumnConfig

INVOICES = """
models:
  - name: Customer
    table: customers
    columns:
      - {name: name, type: String(100), nullable: false}
    relationships:
      - {name: invoices, type: one_to_many, model: Invoice, back_populates: customer, order_by: -number}
  - name: Invoice
    table: invoices
    mixins: [Owner, Version, Timestamps, SoftDelete, Actor]
    columns:
      - {name: number, type: Integer, nullable: false, unique: true}
      - {name: customer_id, type: UUID, foreign_key: {references: Customer.id, on_delete: restrict}}
    relationships:
      - {name: customer, type: many_to_one, model: Customer, back_populates: invoices}
      - {name: tags, type: many_to_many, model: Tag, order_by: [label]}
  - name: Tag
    table: tags
    columns:
      - {name: label, type: String(40), nullable: false, unique: true}
association_tables:
  - {name: invoice_tags, left: Invoice, right: Tag}
"""


def test_two_registries_share_nothing() -> None:
    one, other = ModelRegistry(), ModelRegistry()
    assert one.metadata is not other.metadata
    for name in one.list_models():
        assert one.get_model(name) is not other.get_model(name)
        assert one.table(name) is not other.table(name)
        assert one.read_dto(name) is not other.read_dto(name)
        assert one.model_config(name) is not other.model_config(name)


def test_an_extension_adds_columns_in_its_own_registry_only(tmp_path: Path) -> None:
    extended = registry_of(
        tmp_path,
        """
        models:
          - name: MySession
            extends: Session
            columns:
              - {name: tenant, type: String(50)}
            indexes:
              - columns: [tenant, created_at desc]
            features:
              cache: {ttl: 60}
        """,
    )
    plain = ModelRegistry()
    assert "tenant" in extended.table("Session").c
    assert "tenant" not in plain.table("Session").c
    assert "tenant" in extended.create_dto("Session").model_fields
    assert extended.get_model("MySession") is extended.get_model("Session")
    assert extended.model_config("MySession").name == "Session"
    tuned, built_in = (r.model_config("Session").features.cache for r in (extended, plain))
    assert tuned is not None
    assert built_in is not None
    assert (tuned.ttl, built_in.ttl) == (60, 3600)
    assert tuned.tags == built_in.tags
    assert extended.fingerprint("Session") != plain.fingerprint("Session")
    assert extended.fingerprint("Tracker") == plain.fingerprint("Tracker")
    assert len(extended.table("Session").indexes) == len(plain.table("Session").indexes) + 1


def test_an_extension_switches_the_cache_of_a_model_off(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path, "models: [{extends: Session, features: {cache: false, audit: true}}]"
    )
    declared = registry.model_config("Session").features.declared
    assert "audit" in declared
    assert "cache" not in declared


def test_several_files_can_extend_one_model(tmp_path: Path) -> None:
    write_models(
        tmp_path,
        a="models: [{extends: Session, columns: [{name: one, type: Text}]}]",
        b="models: [{name: B, extends: A, columns: [{name: two, type: Text}]}]",
        c="models: [{name: A, extends: Session, columns: [{name: three, type: Text}]}]",
    )
    registry = ModelRegistry(dirs=[tmp_path])
    assert {"one", "two", "three"} <= set(registry.model_config("B").column_names)


def test_a_reference_may_name_the_extension_or_the_table(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        """
        models:
          - {name: MySession, extends: Session}
          - name: Note
            table: notes
            columns:
              - {name: session_id, type: UUID, foreign_key: MySession.id}
              - {name: other_id, type: UUID, foreign_key: sessions.id}
        """,
    )
    keys = registry.table("Note").foreign_keys
    assert {key.target_fullname for key in keys} == {"sessions.id"}
    assert {key.column for key in keys} == {registry.table("Session").c.id}


def test_a_model_without_a_key_gets_one(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, INVOICES)
    config = registry.model_config("Tag")
    assert config.primary_key == "id"
    assert config.columns[0].default is not None
    assert config.columns[0].default.kind == "uuid7"


def test_mixins_say_what_the_rows_can_do(tmp_path: Path) -> None:
    config = registry_of(tmp_path, INVOICES).model_config("Invoice")
    assert (config.versioned, config.soft_delete, config.timestamps, config.owner) == (
        True,
        True,
        True,
        "user_id",
    )
    added = "user_id version version_token created_at updated_at deleted_at created_by updated_by"
    assert set(added.split()) < set(config.column_names)
    tag = registry_of(tmp_path, INVOICES).model_config("Tag")
    assert (tag.versioned, tag.soft_delete, tag.timestamps, tag.owner) == (
        False,
        False,
        False,
        None,
    )


def test_a_user_registers_mixins_of_their_own(tmp_path: Path) -> None:
    tenancy = Mixin(
        name="Tenant",
        columns=(ColumnConfig(name="tenant", type=ColumnType.parse("String(50)"), nullable=False),),
        owner="tenant",
    )
    text = "models: [{name: Thing, table: things, mixins: [Tenant]}]"
    config = registry_of(tmp_path, text, mixins=[tenancy]).model_config("Thing")
    assert config.owner == "tenant"
    with pytest.raises(ConfigurationError, match="unknown mixin 'Tenant'"):
        registry_of(tmp_path, text)
    with pytest.raises(ConfigurationError, match="two mixins called Owner"):
        ModelRegistry(mixins=[tenancy.model_copy(update={"name": "Owner"})])


def test_a_configuration_built_in_python_is_a_model_like_any_other() -> None:
    thing = ModelConfig.model_validate(
        {"name": "Thing", "table": "things", "columns": [{"name": "size", "type": "Integer"}]}
    )
    registry = ModelRegistry(models=[thing], built_in=False)
    assert registry.list_models() == ["Thing"]
    assert registry.get_model("Thing").__model_config__.column_names == ("id", "size")


def test_a_mistake_in_python_names_the_model() -> None:
    thing = ModelConfig.model_validate(
        {
            "name": "Thing",
            "table": "things",
            "columns": [{"name": "other", "type": "UUID", "foreign_key": "Thng.id"}],
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(models=[thing])
    assert str(caught.value) == "Thing: unknown model 'Thng' (did you mean 'Thing'?)"


def test_an_unknown_model_is_named_with_the_nearest_one() -> None:
    registry = ModelRegistry()
    for ask in (registry.get_model, registry.model_config, registry.table, registry.read_dto):
        with pytest.raises(ConfigurationError, match=r"no model 'Sesion' \(did you mean 'Session'"):
            ask("Sesion")


def test_relationships_are_worked_out_as_columns(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, INVOICES)
    customer, tags = registry.relations("Invoice")
    assert (customer.model, customer.many, customer.local, customer.remote, customer.outward) == (
        "Customer",
        False,
        "customer_id",
        "id",
        True,
    )
    assert tags.link is not None
    assert (tags.link.table, tags.link.near, tags.link.far) == (
        "invoice_tags",
        "invoice_id",
        "tag_id",
    )
    assert tags.order_by == (("label", False),)
    invoices = registry.relation("Customer", "invoices")
    assert invoices is not None
    assert (invoices.local, invoices.remote, invoices.many) == ("id", "customer_id", True)
    assert invoices.order_by == (("number", True),)
    assert registry.relation("Customer", "orders") is None


def test_a_tree_of_one_model_has_both_ways(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        """
        models:
          - name: Folder
            table: folders
            columns:
              - {name: parent_id, type: UUID, foreign_key: {references: Folder.id, on_delete: cascade}}
            relationships:
              - {name: parent, type: many_to_one, model: Folder, back_populates: children}
              - {name: children, type: one_to_many, model: Folder, back_populates: parent, cascade: all}
          - name: Person
            table: people
            relationships:
              - {name: friends, type: many_to_many, model: Person}
        association_tables:
          - {name: friendships, left: Person, right: Person, left_column: one_id, right_column: other_id}
        """,
    )
    folder = registry.get_model("Folder")
    child, parent = folder(), folder()
    child.parent = parent
    assert parent.children == [child]
    relationships = sa.inspect(folder).relationships
    assert relationships.parent.direction.name == "MANYTOONE"
    assert relationships.children.direction.name == "ONETOMANY"


def test_nothing_is_loaded_behind_the_callers_back(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, INVOICES)
    for name in registry.list_models():
        for relationship in sa.inspect(registry.get_model(name)).relationships:
            assert relationship.lazy == "raise"


def test_an_association_table_is_found_by_its_name(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, INVOICES)
    table = registry.association_table("invoice_tags")
    assert [column.name for column in table.primary_key] == ["invoice_id", "tag_id"]
    assert {key.ondelete for key in table.foreign_keys} == {"CASCADE"}
    with pytest.raises(ConfigurationError, match="no association table 'invoice_tag'"):
        registry.association_table("invoice_tag")


def test_a_mapped_class_can_be_built_and_shows_no_values() -> None:
    session_class = ModelRegistry().get_model("Session")
    session = session_class(user_id="u-1", session_type="research", metadata={"secret": "x"})
    assert session.metadata == {"secret": "x"}
    assert (session.status, session.version) == ("active", 1)
    assert repr(session) == f"<Session id={session.id!r}>"
    with pytest.raises(TypeError, match="Session has no sesion_type"):
        session_class(sesion_type="research")


def test_defaults_are_not_shared_between_objects() -> None:
    session_class = ModelRegistry().get_model("Session")
    one, other = session_class(), session_class()
    one.metadata["changed"] = True
    assert other.metadata == {}


def test_the_fingerprint_follows_columns_and_not_comments(tmp_path: Path) -> None:
    def of(column: str) -> str:
        text = f"models: [{{name: Thing, table: things, columns: [{{{column}}}]}}]"
        return registry_of(tmp_path, text).fingerprint("Thing")

    first = of("name: size, type: Integer")
    assert of("name: size, type: Integer, comment: How large.") == first
    assert of("name: size, type: BigInteger") != first
    assert of("name: size, type: Integer, nullable: false") != first
    assert of("name: size, type: Integer, default: 3") != first
    assert of("name: sizes, type: Integer") != first
