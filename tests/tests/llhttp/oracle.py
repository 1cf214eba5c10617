"""What llhttp, in its strict default mode, makes of HTTP/1 messages.

Reads lines from standard input: `request` or `response`, then pieces of a connection in hex, each
handed over by itself. Answers each line with one line of JSON: the error, if there was one, and the
messages as far as they came, with the number of the piece that completed the head and the whole.
Strings hold one character per byte.
"""

import json
import sys

import httptools


def text(raw):
    return raw.decode("latin-1")


class Connection:
    """Collects what the parser reports. The names of the callbacks are httptools'."""

    def __init__(self, kind):
        self.messages = []
        self.piece = 0
        self.requests = kind == "request"
        make = httptools.HttpRequestParser if self.requests else httptools.HttpResponseParser
        self.parser = make(self)

    def on_message_begin(self):
        self.messages.append(
            {
                "head": None,
                "target": "",
                "fields": [],
                "chunked": False,
                "body": "",
                "whole": None,
            }
        )
        self.now = self.messages[-1]

    def on_url(self, part):
        self.now["target"] += text(part)

    def on_header(self, name, value):
        self.now["fields"].append([text(name), text(value)])

    def on_headers_complete(self):
        parser = self.parser
        self.now["head"] = {
            "method": text(parser.get_method()) if self.requests else "",
            "status": 0 if self.requests else parser.get_status_code(),
            "version": parser.get_http_version(),
            "keep_alive": parser.should_keep_alive(),
            "upgrade": parser.should_upgrade(),
            "piece": self.piece,
        }

    def on_chunk_header(self):
        self.now["chunked"] = True

    def on_body(self, part):
        self.now["body"] += text(part)

    def on_message_complete(self):
        self.now["whole"] = self.piece


def answer(line):
    kind, *pieces = line.split()
    connection = Connection(kind)
    error = None
    try:
        for connection.piece, piece in enumerate(pieces):
            connection.parser.feed_data(bytes.fromhex(piece))
    except httptools.HttpParserUpgrade:
        # Another protocol follows, of which nothing is asked here.
        pass
    except httptools.HttpParserError as e:
        error = f"{type(e).__name__}: {e}"
    return {"error": error, "messages": connection.messages}


for line in sys.stdin:
    sys.stdout.write(json.dumps(answer(line)) + "\n")
