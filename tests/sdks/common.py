"""What both Python clients need: the sandbox's folder and control port, and a server that hears notifications."""

import http.server
import json
import pathlib
import queue
import sys
import threading
import urllib.request

import tomllib

FOLDER = pathlib.Path(sys.argv[1])
READY = json.loads((FOLDER / "sandbox.json").read_text())


def credentials(channel):
    return tomllib.loads((FOLDER / channel / "credentials.toml").read_text())


def control(path, body=None, method="POST"):
    """A command to the sandbox itself; a refusal is an answer like any other."""
    data = json.dumps(body if body is not None else {}).encode()
    request = urllib.request.Request(READY["control_url"] + path, data=data, method=method)
    try:
        return json.loads(urllib.request.urlopen(request, timeout=10).read())
    except urllib.error.HTTPError as refused:
        return json.loads(refused.read())


def yesterday():
    import datetime

    beijing = datetime.timezone(datetime.timedelta(hours=8))
    return (datetime.datetime.now(beijing) - datetime.timedelta(days=1)).strftime("%Y-%m-%d")


class Ear:
    """Hears notifications at `url`; `next()` waits for one as (headers, body)."""

    def __init__(self, answer):
        heard = self.heard = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.put((self.headers, body))
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/notify"

    def next(self):
        return self.heard.get(timeout=10)


def check(what, condition, shown=""):
    """One promise; the first broken one ends the run."""
    if not condition:
        sys.exit(f"FAILED: {what}: {shown}")
    print(f"  ok: {what}")
