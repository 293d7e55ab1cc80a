"""Philox4x32-10: published answers, a plain-Python twin, and uniform numbers in (0, 1)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from gammasky.engine.kernels.simulate.philox import philox, stream_of, uniforms

WORD = 2**32
ONES = WORD - 1

# Known answers of the Random123 distribution ("kat_vectors", philox4x32, 10 rounds): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def plain(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """The ten rounds as in the paper, with Python's own integers."""
    x, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(p1 // WORD) ^ x[1] ^ k0, p1 % WORD, (p0 // WORD) ^ x[3] ^ k1, p0 % WORD]
        k0, k1 = (k0 + 0x9E3779B9) % WORD, (k1 + 0xBB67AE85) % WORD
    return tuple(x)


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    assert plain(counter, key) == words
    assert philox(*counter, np.uint64(key[0] + WORD * key[1])) == words


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(counter=st.tuples(*[st.integers(0, ONES)] * 4), key=st.tuples(*[st.integers(0, ONES)] * 2))
def test_like_plain_python(counter: tuple[int, ...], key: tuple[int, int]) -> None:
    assert philox(*counter, np.uint64(key[0] + WORD * key[1])) == plain(counter, key)


def test_uniform_numbers_are_the_first_52_bits_of_two_words() -> None:
    for index in range(100):
        a, b, c, d = plain((3, index, 5, 7), (11, 0))
        expected = [((high * WORD + low) // 2**12 + 0.5) / 2**52 for high, low in ((a, b), (c, d))]
        got = uniforms(3, index, 5, 7, np.uint64(11))
        assert got == tuple(expected)
        assert all(int(u * 2**53) % 2 == 1 and u * 2**53 == int(u * 2**53) for u in got)


@pytest.mark.parametrize("word", range(4))
def test_uniform_and_independent_along_each_word_of_the_counter(word: int) -> None:
    counters = np.zeros((50_000, 4), dtype=np.int64)
    counters[:, word] = np.arange(len(counters))
    pairs = np.array([uniforms(*map(int, counter), np.uint64(5)) for counter in counters])
    joint, _, _ = np.histogram2d(pairs[:, 0], pairs[:, 1], bins=20, range=[[0, 1], [0, 1]])
    following, _, _ = np.histogram2d(pairs[:-1, 0], pairs[1:, 0], bins=20, range=[[0, 1], [0, 1]])
    assert chisquare(joint.ravel()).pvalue > 1e-3
    assert chisquare(following.ravel()).pvalue > 1e-3


def test_streams_differ_by_kind_and_population() -> None:
    assert len({stream_of(kind, population) for kind in range(16) for population in range(10)}) == 160


def test_both_halves_of_the_seed_count() -> None:
    draws = {uniforms(0, 0, 0, 0, np.uint64(seed)) for seed in (0, 1, WORD, WORD + 1, 2**63 - 1)}
    assert len(draws) == 5
