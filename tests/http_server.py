"""A real HTTP server on this machine, for downloads: what it does wrong is switched on by tests."""

import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(files):
    """A server of `files`, {path: bytes}. Its switches, which may be set while it runs:

    ranges    False: it knows no Range and always sends all
    framing   "length": Content-Length; "chunked"; "none": the file ends where the connection does
    moved     {path: URL} that it redirects to
    tag       ETag, or None
    statuses  {path: [status, ...]} of the next answers
    cuts      after how many bytes the next answers end, though more was promised
    stalls    after how many bytes the next answers fall silent
    requests  [(path, Range header or None, User-Agent)] so far
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.files, server.ranges, server.framing, server.tag = files, True, "length", '"first"'
    server.moved, server.statuses, server.cuts, server.stalls, server.requests = {}, {}, [], [], []
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site, asked = self.server, self.headers.get("Range")
        site.requests.append((self.path, asked, self.headers.get("User-Agent")))
        self.close_connection = True
        if site.statuses.get(self.path):
            return self.send_error(site.statuses[self.path].pop(0))
        if self.path in site.moved:
            self.send_response(302)
            self.send_header("Location", site.moved[self.path])
            return self.end_headers()
        if self.path not in site.files:
            return self.send_error(404)
        body, start = site.files[self.path], 0
        if asked and site.ranges:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
            start, size = int(first), len(body)
            if start >= size:
                return self.send_error(416)
            body = body[: int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{size}")
        else:
            self.send_response(200)
        if site.framing == "length":
            self.send_header("Content-Length", str(len(body) - start))
        if site.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        if site.tag:
            self.send_header("ETag", site.tag)
        self.end_headers()
        stall, cut = bool(site.stalls), bool(site.cuts)
        data = body[start:][: (site.stalls or site.cuts).pop(0) if stall or cut else None]
        if site.framing == "chunked":
            data = b"%x\r\n%s\r\n" % (len(data), data) + (b"" if stall or cut else b"0\r\n\r\n")
        with suppress(ConnectionError):  # who asked has seen enough
            self.wfile.write(data)
        if stall:
            site.over.wait(300)

    def log_message(self, *_):
        pass
