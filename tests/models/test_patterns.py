"""A pattern is matched in a time that grows with the text and nothing else."""

from __future__ import annotations

import time

import pytest

from timber.models.patterns import WORK_LIMIT, Pattern

HOSTILE = [
    r"(a+)+",
    r"(a|aa)+",
    r"(.*a){20}",
    r"(\w*\d\w*){50}",
    r"([a-zA-Z0-9])(([\-.]|[_]+)?([a-z]+))*",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_takes_others_hours_takes_no_time(text: str) -> None:
    pattern = Pattern(text)
    for hostile in ("a" * pattern.longest, "1a" * (pattern.longest // 2)):
        start = time.perf_counter()
        assert not pattern.matches(hostile[:-1] + "!")
        assert time.perf_counter() - start < 5, "seconds, on a machine that does other things too"


def test_the_whole_text_is_matched() -> None:
    either = Pattern("cat|dog")
    assert either.matches("cat")
    assert either.matches("dog")
    assert not either.matches("catdog")
    assert not either.matches("a cat")
    assert not either.matches("cat\n")


def test_parentheses_of_the_pattern_are_its_own() -> None:
    with pytest.raises(ValueError, match="unopened group"):
        Pattern("a)(b")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[A-Z", "unclosed character class"),
        (r"(a)\1", "backreferences are not supported"),
        ("(?=a)", "look-around"),
        (r"\w{999}", "exceeds size limit"),
        ("(.{40}){50}", "repetitions count to 2000"),
        (r"(?x) (a{ 100 }){ 3 , 20 }", "repetitions count to"),
    ],
)
def test_what_cannot_be_matched_in_bounded_time_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Pattern(text)


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("", 1),
        ("abc", 3),
        ("[a-z]{3}", 3),
        (r"[]a]{3}", 3),
        (r"[a\]]{3}", 3),
        (r"\p{Lu}{2}[[:alpha:]]{3}", 5),
        (r"(?P<x>a(bc){2}){10}", 50),
        (r"a{2}{3}", 6),
        (r"a{0}b{0,}", 2),
    ],
)
def test_the_longest_text_depends_on_what_a_pattern_spells_out(text: str, positions: int) -> None:
    assert Pattern(text).longest == WORK_LIMIT // positions
