"""Which journal SQLite can use, by the file system that its file lies on."""

from __future__ import annotations

from pathlib import Path

# As the mount table calls them, without the "fuse." that some begin with.
_NETWORK_FILE_SYSTEMS = frozenset(
    """9p afs beegfs ceph cifs davfs gcsfuse glusterfs gpfs juicefs lustre ncpfs nfs nfs4
    orangefs rclone s3fs smb2 smb3 smbfs sshfs""".split()  # noqa: SIM905 - a list of 21 strings
)


def journal_mode(path: Path) -> str:
    """Return SQLite's journal mode for a file: "wal", or "delete" on a network file system."""
    kind = _file_system(path).removeprefix("fuse.")
    return "delete" if kind in _NETWORK_FILE_SYSTEMS else "wal"


def _file_system(path: Path) -> str:
    import psutil

    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    place = path.resolve()
    for parent in (place, *place.parents):
        if str(parent) in mounts:
            return mounts[str(parent)].lower()
    return ""
