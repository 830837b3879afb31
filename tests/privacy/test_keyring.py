"""Keys and what they seal: opened only whole, in its own place, by its own key; rotated without a
moment in which nothing opens.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.sealed_values import NotOpened, Scheme, seal, unseal
from privacy.keyring import (
    BadKeyring,
    KeyFile,
    Keyring,
    SiteKey,
    load_keyring,
    normalise,
    save_keyring,
    with_new_key,
)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_sealed_value_opens_whole_in_its_place_or_not_at_all(scheme: Scheme) -> None:
    """Every single bit."""
    key = bytes(range(scheme.key_bytes))
    sealed = seal(scheme, key, "王小明".encode(), "person|r-1|name")
    assert unseal(key, sealed, "person|r-1|name").decode() == "王小明"
    for wrong in ("person|r-2|name", "person|r-1|phone", ""):
        with pytest.raises(NotOpened):
            unseal(key, sealed, wrong)
    for bit in range(len(sealed) * 8):
        bent = bytearray(sealed)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotOpened):
            unseal(key, bytes(bent), "person|r-1|name")
    for cut in range(len(sealed)):
        with pytest.raises(NotOpened):
            unseal(key, sealed[:cut], "person|r-1|name")
    with pytest.raises(NotOpened):
        unseal(bytes(scheme.key_bytes), sealed, "person|r-1|name")


def test_sm4_gcm_is_the_standards() -> None:
    """RFC 8998, appendix A.1: the standard's own vector, by the calls that `seal` makes."""
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import SM4

    key, nonce = (
        bytes.fromhex("0123456789abcdeffedcba9876543210"),
        bytes.fromhex("00001234567800000000abcd"),
    )
    plain = bytes.fromhex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa"
    )
    more = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    tag = bytes.fromhex("83de3541e4c2b58177e065a9bf7b62ec")
    made = Cipher(SM4(key), modes.GCM(nonce)).encryptor()
    made.authenticate_additional_data(more)
    body = made.update(plain) + made.finalize()
    assert made.tag == tag
    assert body.hex().startswith("17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735")


def test_nonces_do_not_repeat() -> None:
    key = bytes(32)
    assert len({seal(Scheme.AES_256_GCM, key, b"x", "p")[1:13] for _ in range(20_000)}) == 20_000


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_an_index_is_equal_where_the_texts_are(one: str, other: str) -> None:
    ring = Keyring(
        current="k",
        keys={"k": SiteKey(scheme=Scheme.AES_256_GCM, key=bytes(32))},
        index_key=bytes(32),
    )
    assert (ring.index("name", one) == ring.index("name", other)) == (
        normalise(one) == normalise(other)
    )
    assert ring.index("name", one) != ring.index("phone", one)
    stranger = Keyring(current="k", keys=ring.keys, index_key=b"1" * 32)
    assert stranger.index("name", one) != ring.index("name", one)


def test_what_a_clerk_types_differently_is_the_same() -> None:
    assert (
        normalise("１３９-0000 0000") == normalise("13900000000")
        and normalise("买买提·艾力") == normalise("买买提艾力")
        and normalise("11x") == "11X"
    )


def test_a_ring_grows_is_saved_and_read_anew_while_it_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first = with_new_key(None, Scheme.AES_256_GCM)
    save_keyring(path, first)
    assert path.stat().st_mode & 0o777 == 0o600
    file = KeyFile(path)
    assert file.ring() == first == load_keyring(path)
    sealed = file.ring().seal(b"secret", "totp|1")
    second = with_new_key(first, Scheme.SM4_GCM)
    save_keyring(path, second)
    assert file.ring().current == second.current != first.current and set(second.keys) > set(
        first.keys
    )
    assert (
        file.ring().unseal(sealed, "totp|1") == b"secret"
        and file.ring().index_key == first.index_key
    )
    gone = Keyring(
        current=second.current,
        keys={second.current: second.keys[second.current]},
        index_key=second.index_key,
    )
    with pytest.raises(NotOpened, match="not in the key file"):
        gone.unseal(sealed, "totp|1")
    name, wrapped = first.wrap(b"k" * 32, "r-1")
    with pytest.raises(NotOpened, match="put it back"):
        gone.unwrap(name, wrapped, "r-1")
    with pytest.raises(NotOpened):
        first.unwrap(name, wrapped, "r-2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "current = 1",
        'current = "a"\nindex_key = "AA=="\n[keys.a]\nscheme = "aes-256-gcm"\nkey = "AA=="',
        "[[[",
        'current = "a"',
        'current = "a"\nindex_key = "' + "A" * 44 + '"\n[keys.a]\nscheme = "rot13"\nkey = "AA=="',
    ],
)
def test_a_bad_key_file_is_named_and_never_printed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    with pytest.raises(BadKeyring, match=r"keys\.toml"):
        load_keyring(path)
    with pytest.raises(BadKeyring):
        load_keyring(tmp_path / "none.toml")
    with pytest.raises(BadKeyring):
        KeyFile(tmp_path / "none.toml").ring()
    path.chmod(0o666)
    with pytest.raises(BadKeyring, match="chmod"):
        load_keyring(path)
