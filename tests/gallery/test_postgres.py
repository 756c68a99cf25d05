"""What may be named as a gallery on a server, and what is said when the server will not."""

import sys
import threading
import time

import pytest
from sqlalchemy import text

import visavis.gallery.database
from visavis.errors import (
    GalleryBusy,
    GalleryError,
    GalleryFull,
    GalleryReadOnly,
    GalleryUnreachable,
    GalleryUnusable,
    MissingExtra,
)
from visavis.gallery import Gallery
from visavis.gallery.database.postgres import locate

from .given import ENCODER, IN_THE_CLEAR, opened, template


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:secret@db/people", "postgresql://ada@db/people"),
        ("postgres://ada:se%40cret@db:6432/people", "postgresql://ada@db:6432/people"),
        ("postgresql+psycopg://db/people?password=secret", "postgresql://db/people"),
        ("postgresql://a@[::1]:5433/p?schema=doors", "postgresql://a@[::1]:5433/p?schema=doors"),
        ("postgresql://a@x:1,y:2/p?sslmode=require", "postgresql://a@x:1,y:2/p"),
        ("postgresql:///p?host=/run/pg&user=a", "postgresql://a@/p?host=/run/pg"),
        ("postgresql://a@db/p?sslpassword=secret&passfile=/x", "postgresql://a@db/p"),
    ],
)
def test_a_url_is_shown_without_what_one_gets_in_by(url, shown):
    server = locate(url, create=True)
    assert server.where == shown
    assert "secret" not in repr(server)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ada:secret/word@db/people", "special characters"),
        ("postgresql://ada:secret@db:secret/people", "special characters"),
        ("postgresql://ada:2024/secret@db/people", "special characters"),
        ("postgresql://ada:2024#secret@db/people", "special characters"),
        ("postgresql://ada:2024?secret@db/people", "special characters"),
        ("postgresql://db/people?secret=1", "only options"),
        ("postgresql://[secret/people", "cannot be read"),
        ("postgresql://db/people?schema=Secret", "small letters"),
        ("postgresql://db/people?schema=a;b", "small letters"),
        ("postgresql://db/people?mode=w", "rw or ro"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_and_not_repeated(url, said):
    with pytest.raises(GalleryUnusable, match=said) as refused:
        Gallery.open(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_gallery_is_a_schema_of_its_own(postgres, url):
    schema = url.rpartition("=")[2]
    with opened(url) as gallery, postgres.connect() as db:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        everywhere = "SELECT schemaname FROM pg_tables WHERE tablename = 'person'"
        assert (schema,) in db.execute(everywhere).fetchall()
        assert ("public",) not in db.execute(everywhere).fetchall()
        (count,) = db.execute(f"SELECT count(*) FROM {schema}.person").fetchone()
        assert count == gallery.size == 1
    with opened(postgres.url("another_one")) as other:
        assert other.size == 0
    with Gallery.open(postgres.url()) as unnamed, postgres.connect() as db:
        assert "schema" not in unnamed.where
        assert ("visavis",) in db.execute(everywhere).fetchall()


def test_nothing_is_made_unless_wanted(postgres, url):
    for how in ({"where": url, "create": False}, {"where": f"{url}&mode=ro"}):
        with pytest.raises(GalleryUnusable, match="no gallery at"):
            Gallery.open(**how)
    with postgres.connect() as db:
        found = db.execute("SELECT to_regnamespace(%s)", [url.rpartition("=")[2]]).fetchone()
    assert found == (None,)


def test_another_applications_schema_is_refused_and_left_alone(postgres, url):
    schema = url.rpartition("=")[2]
    with postgres.connect() as db:
        db.execute(f"CREATE SCHEMA {schema}")
        db.execute(f"CREATE TABLE {schema}.gallery (title text)")
        with pytest.raises(GalleryUnusable, match="another application's"):
            Gallery.open(url)
        db.execute(f"CREATE TABLE {schema}.schema_version (version int)")
        with pytest.raises(GalleryUnusable, match="another application's"):
            Gallery.open(url)
        tables = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        assert sorted(tables) == [("gallery",), ("schema_version",)]


def test_an_empty_schema_made_by_an_administrator_is_used(postgres, url):
    """By a user who may not make schemas."""
    schema = url.rpartition("=")[2]
    with postgres.connect() as db:
        db.execute("CREATE ROLE door LOGIN")
        db.execute(f"CREATE SCHEMA {schema} AUTHORIZATION door")
    with opened(postgres.url(schema, user="door")) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        removal = gallery.remove("Ada")
        assert removal.erased  # without the right to CHECKPOINT
    with pytest.raises(GalleryUnusable, match=r"may not do that .* grant"):
        Gallery.open(postgres.url("door_may_not", user="door"))


def test_a_user_without_rights_reads_or_is_told(postgres, url):
    schema = url.rpartition("=")[2]
    with opened(url) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    with postgres.connect() as db:
        db.execute("CREATE ROLE guest LOGIN")
        with pytest.raises(GalleryUnusable, match=r"may not read .* grant"):
            Gallery.open(postgres.url(schema, user="guest"))
        db.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest")
        db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO guest")
    with opened(postgres.url(schema, user="guest")) as gallery:
        assert (gallery.writable, gallery.size) == (False, 1)
        with pytest.raises(GalleryReadOnly):
            gallery.remove("Ada")


def test_a_gallery_opened_for_reading_answers_and_refuses_every_change(url):
    with opened(url) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    with opened(f"{url}&mode=ro") as gallery:
        assert (gallery.writable, gallery.size) == (False, 1)
        for change in (lambda: gallery.remove("Ada"), gallery.scrub):
            with pytest.raises(GalleryReadOnly, match="for reading only"):
                change()
        with (
            gallery._store.read() as db,
            pytest.raises(Exception, match="read-only transaction"),
        ):
            db.execute(text("DELETE FROM template"))


def test_a_server_that_became_read_only_says_so(postgres, url):
    with opened(url) as gallery, postgres.connect() as db:
        db.execute("CREATE ROLE fading LOGIN SUPERUSER")
        schema = url.rpartition("=")[2]
        with opened(postgres.url(schema, user="fading")) as other:
            db.execute("ALTER ROLE fading SET default_transaction_read_only = on")
            other._store._engine.dispose()  # the next connection finds it so
            with pytest.raises(GalleryReadOnly, match="may not be written"):
                other.enroll("Ada", [template(1)], encoder=ENCODER)
        assert gallery.size == 0


def test_who_is_not_let_in_is_told_why(postgres):
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    with postgres.connect() as db:
        db.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        db.execute("CREATE ROLE single LOGIN CONNECTION LIMIT 0")
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    postgres.reload()
    time.sleep(0.2)
    try:
        for more in ("", "&password=wrong"):
            with pytest.raises(GalleryUnusable, match=r"refuses this user .*PGPASSWORD") as told:
                Gallery.open(postgres.url(user="guarded", more=more))
            assert "wrong" not in str(told.value)
        with pytest.raises(GalleryUnusable, match="refuses this user"):
            Gallery.open(postgres.url(user="nobody_there"))
        with pytest.raises(GalleryUnusable, match=r"no such database.*createdb"):
            Gallery.open(postgres.url(database="nowhere"))
        with pytest.raises(GalleryBusy, match="no connection"):
            Gallery.open(postgres.url(user="single"))
    finally:
        rules.write_text(before)
        postgres.reload()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres@127.0.0.1:1/people",
        "postgresql://postgres@/people?host=/nowhere",
        "postgresql://postgres@no-such-host.invalid/people",
    ],
)
def test_a_server_that_is_not_there_is_told_at_once(url):
    before = time.monotonic()
    with pytest.raises(GalleryUnreachable, match="see that it runs"):
        Gallery.open(url)
    assert time.monotonic() - before < 5


def test_a_database_that_cannot_spell_names_is_refused(postgres):
    with postgres.connect() as db:
        db.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(GalleryUnusable, match=r"LATIN1.*createdb --encoding=UTF8"):
        Gallery.open(postgres.url(database="narrow"))


def test_an_acknowledged_change_is_on_the_disk_whatever_the_server_would_prefer(postgres, url):
    with postgres.connect() as db:
        db.execute("CREATE ROLE hasty LOGIN SUPERUSER")
        db.execute("ALTER ROLE hasty SET synchronous_commit = off")
    schema = url.rpartition("=")[2]
    with opened(postgres.url(schema, user="hasty")) as gallery:
        with gallery._store.write() as db:
            assert db.execute(text("SHOW synchronous_commit")).scalar() == "on"
            assert db.execute(text("SHOW lock_timeout")).scalar() == "10s"
        with gallery._store.read() as db:
            assert db.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
            assert db.execute(text("SHOW transaction_read_only")).scalar() == "on"


def test_a_lock_held_too_long_is_reported_and_nothing_is_stored(url):
    with opened(url) as slow, opened(url, patience=0.2) as gallery:
        with slow._store.write(), pytest.raises(GalleryBusy, match="locked by another"):
            gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        assert gallery.size == 0
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        assert gallery.size == 1


def test_a_reader_keeps_its_view_and_keeps_nobody_waiting(url):
    with opened(url) as gallery, gallery._store.read() as view:
        count = text("SELECT count(*) FROM person")
        assert view.execute(count).scalar() == 0
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        assert view.execute(count).scalar() == 0
        assert gallery.size == 1


def test_a_full_disk_stores_nothing_of_the_change(postgres, url):
    """Told by the server's own code for it, 53100, in the middle of the transaction."""
    schema = url.rpartition("=")[2]
    with opened(url) as gallery, postgres.connect() as db:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        db.execute(
            f"""
            CREATE FUNCTION {schema}.full() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON {schema}.change_log
            FOR EACH ROW EXECUTE FUNCTION {schema}.full();
            """
        )
        with pytest.raises(GalleryFull, match="disk is full"):
            gallery.enroll("Bob", [template(2)], encoder=ENCODER)
        assert [person.name for person in gallery.people()] == ["Ada"]
        db.execute(f"DROP TRIGGER full_disk ON {schema}.change_log")
        gallery.enroll("Bob", [template(2)], encoder=ENCODER)
        assert gallery.changes(1).sequence == 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE template SET vector = '\\x00'", "another length"),
        ("UPDATE person SET created = 'yesterday'", "a time"),
        ("DROP TABLE template CASCADE", "damaged"),
        ("DELETE FROM gallery", "gallery"),
    ],
)
def test_rows_that_no_gallery_would_hold_are_found(postgres, url, damage, said):
    schema = url.rpartition("=")[2]
    with opened(url, keys=IN_THE_CLEAR) as gallery, postgres.connect() as db:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        gallery.enroll("Bob", [template(2)], encoder=ENCODER)
        db.execute(f"SET search_path TO {schema}")
        db.execute(damage)
        with pytest.raises(GalleryUnusable, match=said):
            gallery.people(), gallery.changes(0), gallery.info()


def test_a_message_names_nobody(postgres, url):
    """The server quotes whole rows when a rule is broken; a name is not for the log."""
    schema = url.rpartition("=")[2]
    with opened(url) as gallery, postgres.connect() as db:
        db.execute(f"ALTER TABLE {schema}.person ADD CHECK (length(name) < 5)")
        with pytest.raises(GalleryError) as told:
            gallery.enroll("Ada Lovelace", [template(1)], encoder=ENCODER)
        assert "Ada" not in str(told.value)
        assert "Ada" not in str(told.value.__cause__).partition("DETAIL")[0]


@pytest.mark.parametrize("again", [False, True])
def test_a_gallery_dropped_while_open_does_not_swallow_enrolments(postgres, url, again):
    schema = url.rpartition("=")[2]
    with opened(url) as gallery, postgres.connect() as db:
        db.execute(f"DROP SCHEMA {schema} CASCADE")
        if again:
            opened(url).close()
        with pytest.raises(GalleryUnusable, match="replaced" if again else "damaged"):
            gallery.enroll("Ada", [template(1)], encoder=ENCODER)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restarted_server_is_found_again_by_itself(postgres, url, how):
    with opened(url) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        postgres.stop(how)
        postgres.start()
        assert [person.name for person in gallery.people()] == ["Ada"]
        gallery.enroll("Bob", [template(2)], encoder=ENCODER)
        assert gallery.changes(0).sequence == 2


def test_while_the_server_is_down_that_is_said_and_then_all_is_well(postgres, url):
    with opened(url, patience=0.5) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        postgres.stop()
        try:
            for use in (gallery.people, lambda: gallery.remove("Ada")):
                before = time.monotonic()
                with pytest.raises(GalleryUnreachable, match="see that it runs"):
                    use()
                assert time.monotonic() - before < 5
            assert gallery.scrub() is False
            threading.Timer(0.2, postgres.start).start()
        finally:
            time.sleep(0.5)
        deadline = time.monotonic() + 30
        while True:
            try:
                assert gallery.size == 1
                break
            except GalleryUnreachable:
                assert time.monotonic() < deadline
        gallery.remove("Ada")


def test_a_connection_cut_in_the_middle_stores_all_or_nothing(postgres, url):
    with opened(url) as gallery, postgres.connect() as db:

        def half_a_change():
            with gallery._store.write() as mine:
                backend = mine.execute(text("SELECT pg_backend_pid()")).scalar()
                mine.execute(text("UPDATE gallery SET encoder_name = 'half'"))
                db.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

        with pytest.raises(GalleryUnreachable, match="look which"):
            half_a_change()
        assert gallery.info().encoder_name == "sface"


def test_more_threads_than_connections_take_turns(url):
    with opened(url) as gallery:
        counts = []
        threads = [threading.Thread(target=lambda: counts.append(gallery.size)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [0] * 40


def test_without_the_driver_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "visavis.gallery.database.postgres")
    monkeypatch.delattr(visavis.gallery.database, "postgres")
    with pytest.raises(MissingExtra, match=r"visavis\[postgres\]"):
        Gallery.open("postgresql://db/people")
