"""Archives whose bytes depend only on what is in them: no clock, no owner, no order of a folder."""

import base64
import gzip
import hashlib
import io
import tarfile
import time
import zipfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file of an archive."""

    path: str
    data: bytes
    mode: int = 0o644


def tar_gz(entries: list[Entry], epoch: int, level: int) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in sorted(entries, key=lambda entry: entry.path):
            info = tarfile.TarInfo(entry.path)
            info.size, info.mode, info.mtime = len(entry.data), entry.mode, epoch
            archive.addfile(info, io.BytesIO(entry.data))
    return gzip.compress(tar.getvalue(), compresslevel=level, mtime=0)


def wheel(entries: list[Entry], info_folder: str, epoch: int, level: int) -> bytes:
    """A zip whose last file is the list of the others with their hashes, as PyPI's format demands."""
    entries = sorted(entries, key=lambda entry: (entry.path.startswith(info_folder), entry.path))
    lines = [f"{entry.path},sha256={url_hash(entry.data)},{len(entry.data)}" for entry in entries]
    record = f"{info_folder}/RECORD"
    entries.append(Entry(record, "\n".join([*lines, f"{record},,", ""]).encode()))
    out = io.BytesIO()
    # Zip knows no time before 1980.
    moment = max(time.gmtime(epoch)[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.path, moment)
            # From Unix: the upper half is the mode of a regular file.
            info.create_system, info.external_attr = 3, (0o100000 | entry.mode) << 16
            archive.writestr(info, entry.data, zipfile.ZIP_DEFLATED, level)
    return out.getvalue()


def url_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
