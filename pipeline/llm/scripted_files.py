"""The files of the scripted server (/v1/files), and the forms that its answers have.

Lists are paged, newest first, as the protocol says: a page after the id `after`, and whether there
is more. Uploads come as multipart forms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_FILES = 10_000  # a page of /v1/files at most


@dataclass(frozen=True)
class Reply:
    """What the server is to send.

    Attributes:
        status: HTTP status.
        content: The body.
        kind: Its media type.
        sent: "whole", "cut" (half of it) or "lost" (nothing at all).
    """

    status: int
    content: bytes
    kind: str = "application/json"
    sent: str = "whole"


def json_reply(content: Mapping[str, Any], status: int = 200) -> Reply:
    """A reply of JSON."""
    return Reply(status, json.dumps(content).encode())


def refused(status: int, message: str, code: str) -> Reply:
    """A refusal in the form of the protocol."""
    error = {"message": message, "type": code, "code": code, "param": None}
    return json_reply({"error": error}, status)


def page(records: Sequence[Mapping[str, Any]], query: Mapping[str, str], most: int) -> Reply:
    """One page of a list, newest first.

    Args:
        records: All of it, oldest first, each with an "id".
        query: `after` (the id before the page) and `limit`.
        most: Records of a page where `limit` does not say.
    """
    newest = list(reversed(records))
    ids = [record["id"] for record in newest]
    begin = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    limit = int(query.get("limit", most))
    some = newest[begin : begin + limit]
    return json_reply(
        {
            "object": "list",
            "data": some,
            "first_id": some[0]["id"] if some else None,
            "last_id": some[-1]["id"] if some else None,
            "has_more": begin + limit < len(newest),
        }
    )


class ScriptedFiles:
    """What clients uploaded and batches wrote.

    Args:
        clock: Seconds since 1970.

    Attributes:
        uploaded: Names of all files that clients ever uploaded, in order.
        stored: Contents of what is stored now, by file id.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[str, dict[str, Any]] = {}
        self._made = 0
        self.uploaded: list[str] = []
        self.stored: dict[str, bytes] = {}

    def add(self, content: bytes, name: str, purpose: str = "batch_output") -> str:
        """Store a file; returns its id."""
        file_id = f"file-{self._made:04d}"
        self._made += 1
        self.stored[file_id] = content
        self._records[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(self._clock()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        return file_id

    def upload(self, kind: str, body: bytes) -> Reply:
        """Take an upload.

        Args:
            kind: The media type of the body, with its boundary.
            body: The form.
        """
        fields = form_fields(kind, body)
        if "file" not in fields or fields.get("purpose", ("", b""))[1] != b"batch":
            return refused(400, "file and purpose are required", "invalid_request_error")
        name, content = fields["file"]
        self.uploaded.append(name)
        return json_reply(self._records[self.add(content, name, "batch")])

    def page(self, query: Mapping[str, str]) -> Reply:
        """A page of the list, of one purpose if the query names it."""
        purpose = query.get("purpose")
        records = [one for one in self._records.values() if purpose in (None, one["purpose"])]
        return page(records, query, _MOST_FILES)

    def content(self, file_id: str) -> Reply:
        """What is in a file."""
        if file_id not in self.stored:
            return refused(404, f"No such File object: {file_id}", "not_found")
        return Reply(200, self.stored[file_id], "application/octet-stream")

    def delete(self, file_id: str) -> Reply:
        """Forget a file."""
        if self.stored.pop(file_id, None) is None:
            return refused(404, f"No such File object: {file_id}", "not_found")
        del self._records[file_id]
        return json_reply({"id": file_id, "object": "file", "deleted": True})


def form_fields(kind: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of a multipart form: by name, the file's name ("" if it is none), the content.

    Args:
        kind: The media type, with its boundary.
        body: The form; what is no form has no fields.
    """
    _, _, boundary = kind.partition("boundary=")
    fields: dict[str, tuple[str, bytes]] = {}
    if not boundary:
        return fields
    # Every part begins on a line of its own, so a boundary inside a line is content.
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.strip('"').encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        attributes = {}
        for item in head.decode("latin-1").replace("\r\n", ";").split(";"):
            name, _, value = item.strip().partition("=")
            attributes[name] = value.strip('"')
        if "name" in attributes:
            fields[attributes["name"]] = (attributes.get("filename", ""), content)
    return fields
