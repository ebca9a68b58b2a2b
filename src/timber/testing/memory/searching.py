"""A search for words as they are: enough to tell which rows are found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

WEIGHTS: Final = {"A": 1.0, "B": 0.4, "C": 0.2, "D": 0.1}
_PART: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_WORDS: Final = re.compile(r"\w+")
_SNIPPET: Final = 25

Texts = Sequence[tuple[str, float]]


class Query:
    """Words as people type them: quotes hold a phrase together, ``or`` and ``-`` work."""

    def __init__(self, text: str) -> None:
        alternatives = re.split(r"\s+or\s+", text.strip(), flags=re.IGNORECASE)
        self._alternatives = [_parts(each) for each in alternatives]
        self._words = {
            word
            for parts in self._alternatives
            for is_out, words in parts
            if not is_out
            for word in words
        }

    def score(self, texts: Texts) -> float | None:
        """How well texts meet it, None where they do not."""
        words = [_words(text) for text, _ in texts]
        if not any(_meets(parts, words) for parts in self._alternatives):
            return None
        return sum(
            weight * sum(word in self._words for word in _words(text)) for text, weight in texts
        )

    def snippet(self, texts: Texts) -> str:
        """The first words of where it is met, what was looked for in bold."""
        words = " ".join(text for text, _ in texts).split()
        marked = [f"**{word}**" if set(_words(word)) & self._words else word for word in words]
        first = next((place for place, word in enumerate(marked) if word.startswith("**")), 0)
        return " ".join(marked[max(0, first - 5) :][:_SNIPPET])


def _parts(query: str) -> list[tuple[bool, list[str]]]:
    """Phrases, each with whether it is to be left out."""
    return [
        (bool(minus), words)
        for minus, phrase, word in _PART.findall(query)
        if (words := _words(phrase or word))
    ]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(text)]


def _meets(parts: list[tuple[bool, list[str]]], texts: list[list[str]]) -> bool:
    return bool(parts) and all(
        any(_holds(words, sought) for words in texts) != is_out for is_out, sought in parts
    )


def _holds(words: list[str], sought: list[str]) -> bool:
    """Whether words stand side by side in a text."""
    return any(words[place : place + len(sought)] == sought for place in range(len(words)))
