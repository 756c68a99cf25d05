"""The master key: where it comes from, and what is refused, each refusal with its own code."""

import base64
import os
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.errors import GalleryFull, KeyExposed, KeyMalformed, KeyMissing, KeyWrong
from visavis.gallery.secrets.protection import Keys, MasterKey, derived, keyed_digest, unwrapped
from visavis.settings import Settings

SECRET = bytes(range(32))


def key_file(path, mode=0o600):
    path.write_text(SECRET.hex())
    path.chmod(mode)
    return path


@given(st.binary(min_size=32, max_size=32))
def test_a_key_reads_the_same_in_every_spelling(secret):
    spellings = [
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode(),
        base64.b64encode(secret).decode().rstrip("=") + "\n",
        base64.urlsafe_b64encode(secret).decode(),
    ]
    ids = {MasterKey.parse(spelling, "here").id for spelling in spellings}
    assert ids == {MasterKey(secret).id}


NO_KEYS = ["", "secret", SECRET.hex()[:-2], SECRET.hex() + "00", "z" * 64, "ü" * 44]
NO_KEYS += [base64.b64encode(content).decode() for content in (SECRET[:31], SECRET + b"x")]


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_no_key_is_refused_by_the_name_of_its_source(text):
    with pytest.raises(KeyMalformed, match=r"^VISAVIS_KEY holds no master key.*openssl"):
        MasterKey.parse(text, "VISAVIS_KEY")


def test_a_key_of_another_length_is_refused():
    with pytest.raises(KeyMalformed, match="not 16"):
        MasterKey(bytes(16))


def test_a_key_never_shows_itself():
    key = MasterKey(SECRET)
    shown = f"{key!r} {key!s} {Keys(key=key)!r} {Keys(text=SECRET.hex(), source='X')!r}"
    shown += repr(Settings.read({"VISAVIS_KEY": SECRET.hex()}))
    assert key.id in shown
    assert SECRET.hex() not in shown
    assert repr(SECRET)[2:20] not in shown


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o601])
def test_a_file_that_others_may_use_is_refused(tmp_path, mode):
    path = key_file(tmp_path / "master.key", mode=mode)
    with pytest.raises(KeyExposed, match=rf"mode {mode:04o}.*chmod 600"):
        MasterKey.read(path)
    path.chmod(0o400)
    assert MasterKey.read(path).id == MasterKey(SECRET).id


def test_a_missing_file_is_refused_and_not_made(tmp_path):
    path = tmp_path / "keys" / "master.key"
    with pytest.raises(KeyMissing, match=r"no master key at .*bring back the copy"):
        Keys.of(path).master(begins=True)
    with pytest.raises(KeyMissing):
        Keys.default(tmp_path).master()  # a gallery that is sealed already needs the old one
    assert not path.parent.exists()


def test_a_folder_is_no_key(tmp_path):
    with pytest.raises(KeyMissing, match="cannot be read"):
        MasterKey.read(tmp_path)


def test_what_is_no_text_is_malformed(tmp_path):
    path = tmp_path / "master.key"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    with pytest.raises(KeyMalformed, match=r"master\.key holds no master key"):
        MasterKey.read(path)


def test_the_default_key_is_made_once_and_closed_to_others(tmp_path):
    keys = Keys.default(tmp_path)
    made = keys.master(begins=True)
    path = tmp_path / "keys" / "master.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert keys.master(begins=True).id == keys.master().id == made.id
    assert [p.name for p in path.parent.iterdir()] == ["master.key"]


def test_many_who_make_the_key_at_once_get_the_same(tmp_path):
    path, ids, ready = tmp_path / "keys" / "master.key", [], threading.Barrier(8)

    def make():
        ready.wait()
        ids.append(MasterKey.made(path).id)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_a_disk_without_room_for_the_key_is_said_to_be_full(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(GalleryFull, match="free some space"):
        MasterKey.made(tmp_path / "master.key")


def test_a_place_where_no_key_can_be_made_names_the_way_out(tmp_path):
    (tmp_path / "keys").write_text("a file stands here")
    with pytest.raises(KeyMissing, match="VISAVIS_KEY_FILE"):
        Keys.default(tmp_path).master(begins=True)


def test_the_environment_is_read_in_settings_only(tmp_path):
    path = key_file(tmp_path / "one.key")
    other = bytes(32)

    def id_of(**environment):
        return Settings.read(environment).keys.master().id

    assert id_of(VISAVIS_KEY_FILE=str(path)) == MasterKey(SECRET).id
    assert id_of(VISAVIS_KEY=other.hex()) == MasterKey(other).id
    assert id_of(VISAVIS_KEY=other.hex(), VISAVIS_KEY_FILE=str(path)) == MasterKey(other).id
    with pytest.raises(KeyMalformed, match="VISAVIS_KEY holds"):
        id_of(VISAVIS_KEY="swordfish")
    keys = Settings.read({"VISAVIS_DATA": str(tmp_path)}).keys
    assert keys == Keys.default(tmp_path)
    assert not (tmp_path / "keys").exists()
    assert keys.master(begins=True).id == keys.master().id


def test_importing_the_settings_loads_no_database():
    code = "import sys, visavis.settings; print('sqlalchemy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_a_wrapped_key_opens_with_its_master_key_and_in_its_place_only():
    master, other = MasterKey(SECRET), MasterKey(bytes(32))
    wrapped = master.wrap(b"data key", b"gallery 1")
    assert b"data key" not in wrapped
    assert wrapped != master.wrap(b"data key", b"gallery 1")
    assert unwrapped(master, wrapped, b"gallery 1", master.id) == b"data key"
    with pytest.raises(KeyWrong, match=rf"sealed with the master key {master.id}.*{other.id}"):
        unwrapped(other, wrapped, b"gallery 1", master.id)
    with pytest.raises(KeyWrong, match="moved here from another gallery"):
        unwrapped(master, wrapped, b"gallery 2", master.id)
    with pytest.raises(KeyWrong, match="was changed"):
        unwrapped(master, wrapped[:-1] + b"?", b"gallery 1", master.id)
    with pytest.raises(KeyWrong):
        unwrapped(master, b"", b"gallery 1", master.id)


def test_secrets_for_different_purposes_have_nothing_in_common():
    secrets = {derived(SECRET, purpose) for purpose in ("audit log", "search", "digests")}
    assert len(secrets) == 3
    assert derived(SECRET, "search") == derived(SECRET, "search")
    assert keyed_digest(SECRET, "ab") != keyed_digest(bytes(32), "ab")
