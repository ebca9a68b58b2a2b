from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.projects import registry_of, write_models
from timber.errors import ConfigurationError
from timber.models import ModelRegistry
from timber.models.yaml_source import MAX_BYTES, Source, parse_document


def test_no_stays_a_string_where_a_string_is_meant(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        """
        models:
          - name: Answer
            table: answers
            comment: no
            columns:
              - {name: text, type: Text, default: no}
              - {name: off, type: Text, default: off}
              - name: word
                type: Enum[yes, no, on, off]
                default: no
              - {name: country, type: String(2), default: NO, comment: yes}
        """,
    )
    config = registry.model_config("Answer")
    assert config.comment == "no"
    defaults = {c.name: c.default.value for c in config.columns if c.default and c.name != "id"}
    assert defaults == {"text": "no", "off": "off", "word": "no", "country": "NO"}
    assert config.column("country").comment == "yes"
    assert config.column("word").type.labels == ("yes", "no", "on", "off")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("012", "012"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("'7'", "7"),
        ('"true"', "true"),
        ("=", "="),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    document = parse_document(f"key: {text}\n", Source())
    assert document.errors == ()
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_an_anchor_can_be_used_again(tmp_path: Path) -> None:
    registry = registry_of(
        tmp_path,
        """
        models:
          - name: Price
            table: prices
            columns: &money
              - {name: amount, type: "Numeric(12, 2)"}
          - name: Cost
            table: costs
            columns: *money
        """,
    )
    assert registry.model_config("Cost").columns[1] == registry.model_config("Price").columns[1]


def test_a_mistake_behind_an_alias_is_reported_where_it_was_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        registry_of(
            tmp_path,
            """
            models:
              - name: Price
                table: prices
                columns: &money
                  - {name: amount, type: Mony}
              - name: Cost
                table: costs
                columns: *money
            """,
        )
    assert (caught.value.line, caught.value.column) == (7, 30)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"# " + b"x" * MAX_BYTES)
    with pytest.raises(ConfigurationError, match=r"larger than 1,000,000 bytes"):
        ModelRegistry(files=[path])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"version: 1\nmodels: \xff\n", r":2:9: the file is not UTF-8 text"),
        (b"version: 1\nmodels: \x07\n", r":2:9: not valid YAML: a control character"),
    ],
)
def test_a_file_that_is_no_text_says_where(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match=message):
        ModelRegistry(files=[path])


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\nmodels:\n  - {name: Thing, table: things}\n")
    assert "Thing" in ModelRegistry(files=[path]).list_models()


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(files=[tmp_path / "gone.yaml"], dirs=[tmp_path / "nowhere"])
    report = str(caught.value)
    assert f"{tmp_path / 'gone.yaml'}: the model file cannot be read: no such file" in report
    assert f"{tmp_path / 'nowhere'}: there is no such folder of models" in report


def test_a_folder_gives_its_yaml_files(tmp_path: Path) -> None:
    write_models(tmp_path, a="models: [{name: First, table: firsts}]")
    (tmp_path / "b.yml").write_text("version: 1\nmodels: [{name: Second, table: seconds}]\n")
    (tmp_path / "notes.txt").write_text("not a model")
    registry = ModelRegistry(dirs=[tmp_path], built_in=False)
    assert registry.list_models() == ["First", "Second"]


def test_a_file_brings_those_it_depends_on(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write_models(tmp_path / "base", people="models: [{name: Person, table: people}]")
    (path,) = write_models(
        tmp_path,
        orders="""
        depends_on: [base/people.yaml]
        models:
          - name: Order
            table: orders
            columns:
              - {name: person_id, type: UUID, foreign_key: Person.id}
        """,
    )
    assert ModelRegistry(files=[path], built_in=False).list_models() == ["Order", "Person"]


def test_files_that_depend_on_one_another_in_a_circle_are_refused(tmp_path: Path) -> None:
    write_models(
        tmp_path,
        a="depends_on: [b.yaml]\n",
        b="depends_on:\n  - c.yaml\n",
        c="depends_on: [a.yaml]\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(dirs=[tmp_path])
    assert str(caught.value) == (
        f"{tmp_path / 'c.yaml'}:2:14: the files depend on one another in a circle: "
        "a.yaml -> b.yaml -> c.yaml -> a.yaml"
    )


@pytest.mark.parametrize("name", ["x" * 10_000, '"\\0"'])
def test_a_file_that_cannot_be_is_not_there(tmp_path: Path, name: str) -> None:
    write_models(tmp_path, a=f"depends_on: [{name}]\n")
    with pytest.raises(ConfigurationError, match="there is no model file"):
        ModelRegistry(dirs=[tmp_path])


def test_a_key_that_is_wrong_leaves_its_own_mistake_alone(tmp_path: Path) -> None:
    write_models(
        tmp_path,
        a="""
        models:
          - name: Person
            table: people
            mixins: [Owner]
            columns:
              - {name: id, type: UUID, primary_key: true, defautl: uuid7}
              - {name: secret, type: Text}
            features:
              cache: true
              feed: true
              encryption: {columns: [secret]}
              audit: true
              personal_data: true
        """,
    )
    with pytest.raises(ConfigurationError, match="defautl") as caught:
        ModelRegistry(dirs=[tmp_path])
    assert len(caught.value.errors) <= 1


@pytest.mark.parametrize("name", ["x" * 10_000, "a\0b"])
def test_a_folder_that_cannot_be_is_not_there(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        ModelRegistry(dirs=[Path(name)])


def test_a_diamond_of_files_is_no_circle(tmp_path: Path) -> None:
    write_models(
        tmp_path,
        a="depends_on: [b.yaml, c.yaml]\n",
        b="depends_on: [d.yaml]\n",
        c="depends_on: [d.yaml]\n",
        d="models: [{name: Deep, table: deeps}]\n",
    )
    assert ModelRegistry(dirs=[tmp_path], built_in=False).list_models() == ["Deep"]


def test_the_mistakes_of_all_files_are_in_one_report_in_their_order(tmp_path: Path) -> None:
    write_models(
        tmp_path,
        a="models:\n  - name: First\n    tabel: firsts\n",
        b="models:\n  - name: Second\n    table: seconds\n    columns:\n      - {name: x, type: Txt}\n"
        "      - {name: y, type: UUID, foreign_key: First.id}\n      - {name: z, type: Text, nul: 1}\n",
        c="models:\n  - name: Second\n    table: thirds\n    mixins: [Timestamp]\n",
        d="models: [\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(dirs=[tmp_path])
    places = [(Path(e.file or "").stem, e.line, e.column) for e in caught.value.errors]
    assert places == [
        ("a", 4, 5),
        ("b", 6, 25),
        ("b", 8, 31),
        ("c", 3, 11),
        ("d", 3, 1),
    ]
    # Not among them: that First has no table, since `tabel` is one mistake and not two; that y refers to First, which is
    # not unknown but broken.
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "a.yaml"), 4)


def test_a_good_file_beside_a_broken_one_is_not_half_loaded(tmp_path: Path) -> None:
    paths = write_models(
        tmp_path, good="models: [{name: Good, table: goods}]", bad="models: [{name: Bad}]"
    )
    with pytest.raises(ConfigurationError):
        ModelRegistry(files=paths)
    assert "Good" not in ModelRegistry().list_models()


@given(st.text(max_size=200))
def test_no_text_makes_anything_but_a_document_or_errors_with_places(text: str) -> None:
    document = parse_document(text, Source("models.yaml"))
    if document.errors:
        assert all(e.file == "models.yaml" and e.line and e.column for e in document.errors)


YAML_PIECES = st.lists(
    st.sampled_from(
        [
            "version: 1\n",
            "models:\n",
            "- ",
            "  ",
            "name: A",
            "\n",
            "{",
            "}",
            "[",
            "]",
            ", ",
            ": ",
            "&a ",
            "*a",
            "type: Text",
            "table: a",
            "columns:",
            "? ",
            "> ",
            '"',
            "'",
            "# ",
            "!!map ",
            "<<: ",
            "---\n",
        ]
    ),
    max_size=30,
).map("".join)


@given(YAML_PIECES)
def test_no_broken_file_ends_in_anything_but_a_configuration_error(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "models.yaml"
        path.write_text(text)
        with suppress(ConfigurationError):
            ModelRegistry(files=[path], built_in=False)
