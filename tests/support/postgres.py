"""A real PostgreSQL server on loopback, started and stopped by a test."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database; skips where PostgreSQL is not installed."""
    # Debian keeps these programs off the path.
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which(
        "pg_ctl", path=os.pathsep.join([*map(str, places[-1:]), os.environ["PATH"]])
    )
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # The server refuses to run as root.
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        shutil.chown(folder, user)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        data = f"{folder}/data"

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [Path(found).with_name(program), "-D", data, *arguments],
                check=True,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                user=user if os.getuid() == 0 else None,
            )

        run("initdb", "--auth=trust", "--username=tests", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "--wait", "-o", f"{options} -c unix_socket_directories=", "start")
        try:
            yield f"postgresql://tests@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--wait", "--mode=immediate", "stop")
