"""The store: what was saved comes back, and a file that is damaged in any way counts as absent."""

from __future__ import annotations

import hashlib
import random
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError

SPECIFICATION = {"seed": 3, "model": "fiducial", "levels": [0.5, 0.9]}
ARRAYS = {
    "draws": np.random.default_rng(0).normal(size=(20, 3)),
    "name": np.array("S_gce"),
    "steps": np.array(7),
    "none": np.zeros((0, 2), dtype=np.int32),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def key() -> str:
    return Store.key(SPECIFICATION)


def same(loaded: dict[str, np.ndarray] | None) -> bool:
    return (
        loaded is not None
        and set(loaded) == set(ARRAYS)
        and all(loaded[name].dtype == array.dtype for name, array in ARRAYS.items())
        and all(np.array_equal(loaded[name], array) for name, array in ARRAYS.items())
    )


def test_what_was_saved_comes_back(store: Store, key: str) -> None:
    assert not store.has(key)
    assert store.load(key) is None
    assert not store.folder.exists()
    store.save(key, ARRAYS)
    assert store.has(key)
    assert same(store.load(key))
    assert same(Store(str(store.folder)).load(key))
    assert list(store.folder.iterdir()) == [store.path(key)]
    with np.load(store.path(key)) as plain:
        np.testing.assert_array_equal(plain["draws"], ARRAYS["draws"])


def test_a_later_result_takes_the_place(store: Store, key: str) -> None:
    store.save(key, {"old": np.ones(3)})
    store.save(key, {})
    assert store.load(key) == {}
    assert store.has(key)


def test_the_key_is_that_of_the_canonical_text() -> None:
    text = b'{"levels":[0.5,0.9],"model":"fiducial","seed":3}'
    assert Store.key(SPECIFICATION) == hashlib.sha256(text).hexdigest()[:32]
    assert Store.key(dict(reversed(SPECIFICATION.items()))) == Store.key(SPECIFICATION)
    assert Store.key({**SPECIFICATION, "seed": 4}) != Store.key(SPECIFICATION)


@pytest.mark.parametrize(
    "specification", [{"x": np.int64(3)}, {"x": float("nan")}, {(1, 2): 3}, {1: 0, "a": 0}, object()]
)
def test_a_specification_that_is_not_json(specification: object) -> None:
    with pytest.raises(InputError, match=r"^specification of a member: expected plain, finite JSON values: "):
        Store.key(specification)


@pytest.mark.parametrize("bad", ["", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32 + "\n"])
def test_a_key_that_is_none(store: Store, bad: str) -> None:
    for use in (store.path, store.has, store.load, lambda key: store.save(key, {})):
        with pytest.raises(InputError, match=rf"^key of a member: expected 32 .*, got '{re.escape(bad)}'$"):
            use(bad)


def test_objects_are_not_stored(store: Store, key: str) -> None:
    with pytest.raises(InputError, match=r"^array 'members': expected numbers or text, got Python objects"):
        store.save(key, {"members": np.array([{}, None])})
    assert not store.has(key)


def test_a_file_cut_anywhere_is_absent(store: Store, key: str) -> None:
    store.save(key, ARRAYS)
    whole = store.path(key).read_bytes()
    for length in range(0, len(whole), 3):
        store.path(key).write_bytes(whole[:length])
        assert store.load(key) is None, length
    assert not store.has(key)
    store.save(key, ARRAYS)
    assert same(store.load(key))


def test_a_changed_byte_is_noticed_or_harmless(store: Store, key: str) -> None:
    store.save(key, ARRAYS)
    whole = store.path(key).read_bytes()
    rng = random.Random(1)
    noticed = 0
    for at in range(len(whole)):
        value = rng.choice([whole[at] ^ 0xFF, whole[at] ^ 1, rng.randrange(256)])
        store.path(key).write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
        loaded = store.load(key)
        assert loaded is None or same(loaded), (at, value)
        noticed += loaded is None
    assert noticed > len(whole) / 3


def test_what_the_store_did_not_write_is_absent(store: Store, key: str) -> None:
    store.folder.mkdir()
    for content in (b"\x00" * 500, b"PK\x03\x04" + b"\x00" * 60, b"\x93NUMPY\x01\x00", b"\x80\x04N."):
        store.path(key).write_bytes(content)
        assert store.load(key) is None
    np.savez(store.path(key), **ARRAYS)
    assert store.load(key) is None
    store.save(key, ARRAYS)
    with zipfile.ZipFile(store.path(key), "a") as archive:
        archive.writestr("more.npy", b"")
    assert store.load(key) is None


def test_a_folder_that_cannot_be_read_is_no_absence(store: Store, key: str) -> None:
    store.path(key).mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        store.load(key)
