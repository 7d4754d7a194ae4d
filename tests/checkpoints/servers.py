"""Servers on this machine that the tests read from, and what was asked of them."""

import pickle
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Ranges(SimpleHTTPRequestHandler):
    """Answers requests for a range of bytes, which the class it comes from does not."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        if wanted is None:
            return super().do_GET()
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        try:
            with open(self.translate_path(self.path), "rb") as file:
                content = file.read()
        except OSError:
            return self.send_error(404)
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def log_message(self, *_):
        pass


class Quiet(ThreadingHTTPServer):
    """Does not print what clients that hang up cause."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


@contextmanager
def serving(handler):
    """The address of a server on this machine."""
    with Quiet(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def serving_folder(folder, handler=Ranges):
    """The address of a folder on a web server."""

    def of_folder(*args):
        return handler(*args, directory=str(folder))

    with serving(of_folder) as address:
        yield address


def weights_of(pickled, start):
    """A few weights of a trajectory, in a process that needs no more than this module."""
    return pickle.loads(pickled)["weights"][:, start : start + 5].to_numpy()
