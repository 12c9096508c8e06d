"""What was read of files before, kept by (path, size, mtime) in one file of the user's.

``$XDG_CACHE_HOME/mmmsmlp/data-N.sqlite3``, or under ``~/.cache``. Where it cannot be
written, everything is read anew, and :attr:`Cache.trouble` says why.
"""

import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

VERSION = 4  # of what the rows hold; another one starts anew
TABLES = """
create table if not exists files (
    folder blob, name blob, size integer, mtime integer, record text,
    primary key (folder, name)) without rowid;
create table if not exists verdicts (key text primary key, verdict text);
"""


def default_path() -> Path:
    """Where the cache lies."""
    root = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(root) / 'mmmsmlp' / f'data-{VERSION}.sqlite3'


class Cache:
    """Rows of JSON by file, and verdicts by key; without a file, nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self.trouble = ''
        self._base: sqlite3.Connection | None = None
        path = path or default_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=5)
            self._base.executescript(TABLES)
        except (OSError, sqlite3.Error) as error:
            self._fail(path, error)

    def _fail(self, path: object, error: Exception) -> None:
        self._base = None
        self.trouble = (
            f'{path} cannot be used ({error}): pictures are read anew at every start'
        )

    def files(self, folder: str) -> dict[str, tuple[int, int, list]]:
        """Of each known file in a folder: size, mtime in ns, and its record."""
        rows = self._ask(
            'select name, size, mtime, record from files where folder = ?',
            os.fsencode(folder),
        )
        return {
            os.fsdecode(name): (size, mtime, json.loads(text))
            for name, size, mtime, text in rows
        }

    def keep_files(self, rows: Iterable[tuple[str, str, int, int, list]]) -> None:
        """Keep (folder, name, size, mtime, record)."""
        texts = [
            (os.fsencode(folder), os.fsencode(name), size, mtime, json.dumps(record))
            for folder, name, size, mtime, record in rows
        ]
        self._write('insert or replace into files values (?, ?, ?, ?, ?)', texts)

    def verdict(self, key: str) -> dict | None:
        """What was kept under a key."""
        rows = self._ask('select verdict from verdicts where key = ?', key)
        return json.loads(rows[0][0]) if rows else None

    def keep_verdict(self, key: str, verdict: dict) -> None:
        """Keep what was found, under a key that names all that it depends on."""
        rows = [(key, json.dumps(verdict))]
        self._write('insert or replace into verdicts values (?, ?)', rows)

    def _ask(self, query: str, value: str | bytes) -> list:
        if self._base is None:
            return []
        try:
            return self._base.execute(query, (value,)).fetchall()
        except sqlite3.Error as error:
            self._fail('the cache of data', error)
            return []

    def _write(self, query: str, rows: list[tuple]) -> None:
        if self._base is None or not rows:
            return
        try:
            with self._base:
                self._base.executemany(query, rows)
        except sqlite3.Error as error:
            self._fail('the cache of data', error)
