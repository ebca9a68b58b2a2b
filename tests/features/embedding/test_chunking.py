"""Texts in pieces: nothing is lost, nothing is too long, and a change in one place leaves the others alone."""

from __future__ import annotations

import itertools
import pydoc_data.topics
import random
import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timber.features.embedding.chunking import chunks

TOPIC = pydoc_data.topics.topics["compound"]

sizes = st.integers(50, 300)


@given(st.text(st.sampled_from("ab .\n\u3002\u00e9\U0001f34e"), max_size=3000), sizes, st.data())
def test_every_word_is_in_a_piece_and_no_piece_is_too_long(text, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    made = chunks(text, size=size, overlap=overlap)
    assert all(0 < chunk.length <= size for chunk in made)
    assert all(chunk.of(text) == chunk.of(text).strip() for chunk in made)
    digests = [chunk.digest for chunk in made]
    assert digests == [sha256(chunk.of(text).encode()).digest() for chunk in made]
    assert len(set(digests)) == len(digests)
    kept = {chunk.of(text) for chunk in made}
    # Where the same piece comes twice the second one is the first.
    assert all(any(word[:50] in piece for piece in kept) for word in text.split())


def test_a_short_text_is_one_piece_and_a_blank_one_none():
    assert [chunk.of("  a word \n") for chunk in chunks("  a word \n", size=50, overlap=10)] == [
        "a word"
    ]
    assert chunks(" \n\t ", size=50, overlap=10) == []
    assert chunks("", size=50, overlap=0) == []


def test_cuts_fall_between_paragraphs_then_sentences_then_words():
    paragraphs = "\n\n".join(["One thing. And another one here"] * 3)
    first = chunks(paragraphs, size=60, overlap=0)[0]
    assert first.of(paragraphs) == "One thing. And another one here"
    sentences = "A sentence of words, it is. " * 4
    first = chunks(sentences, size=70, overlap=0)[0]
    assert first.of(sentences) == ("A sentence of words, it is. " * 2).strip()
    words = "word " * 40
    assert all(chunk.of(words).endswith("word") for chunk in chunks(words, size=52, overlap=0))


def test_neighbours_share_about_the_overlap():
    text = " ".join(f"w{n}" for n in range(500))
    made = chunks(text, size=200, overlap=50)
    shared = [
        before.start + before.length - after.start for before, after in itertools.pairwise(made)
    ]
    assert all(30 <= number <= 50 for number in shared)


@pytest.mark.parametrize("seed", range(5))
def test_a_change_in_one_place_leaves_most_pieces_as_they_were(seed):
    dice = random.Random(seed)
    before = {chunk.digest for chunk in chunks(TOPIC, size=1000, overlap=100)}
    place = dice.randrange(len(TOPIC) // 2)
    changed = f"{TOPIC[:place]} a few more words {TOPIC[place:]}"
    after = {chunk.digest for chunk in chunks(changed, size=1000, overlap=100)}
    assert len(before) > 50
    assert len(before & after) > 0.6 * len(before)


def test_ten_million_characters_are_cut_in_a_moment():
    dice = random.Random(1)
    words = [f"w{n}" for n in range(10_000)]
    text = " ".join(dice.choices(words, k=1_720_000))
    assert len(text) > 10_000_000
    began = time.process_time()
    made = chunks(text, size=1000, overlap=100)
    assert time.process_time() - began < 8
    assert len(made) > 9_000


def test_what_stands_there_again_and_again_is_one_piece():
    text = "".join(f"{n} {TOPIC}" for n in range(50))
    assert len(chunks(text, size=1000, overlap=100)) < 5 * len(
        chunks(TOPIC, size=1000, overlap=100)
    )
