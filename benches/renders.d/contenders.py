"""The servers that are measured: how each is started, and how it is asked for a variant."""

import http.client
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.parse
import uuid

# Seconds that nothing which is waited for takes.
PATIENCE = 120
# The servers that must be stopped in the end.
RUNNING = []


class Refused(Exception):
    """The server does not make this variant; its own words say why."""


class DoesNotStart(SystemExit):
    """What the server said instead of starting."""


class Contender:
    """A running server. Each runs as its project starts it: no setting but where to listen and what to serve."""

    def __init__(self, name, command, log, environment):
        self.name = name
        # The settings of whoever runs this would change what is measured.
        inherited = {k: v for k, v in os.environ.items() if not re.match("PINHOLE_|OXIMG_|RUST_LOG|VIPS_|UV_", k)}
        # What the server says: on its own, so that nothing is lost between starting it and reading.
        self.log_path = os.path.join(log, f"{name.replace(' ', '-')}-{uuid.uuid4().hex[:6]}.log")
        with open(self.log_path, "wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=inherited | environment
            )
        RUNNING.append(self)
        self.pid = self.process.pid
        self.headers = {}

    def stop(self):
        RUNNING.remove(self)
        self.process.terminate()
        self.process.wait()

    def said(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as said:
            return said.read()

    def wait_for(self, pattern):
        """What the first group of a pattern matches in what the server says; fails when it never does."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(pattern, self.said(), re.MULTILINE):
                return found[1]
            time.sleep(0.05)
        raise DoesNotStart(f"benches/renders: {self.name} does not start:\n{self.said()}")

    def connect(self, port):
        self.port = int(port)
        self.connection = self.another_connection()

    def another_connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method, path, body=None, headers=None, connection=None):
        connection = connection or self.connection
        try:
            connection.request(method, path, body, self.headers | (headers or {}))
            response = connection.getresponse()
        except ConnectionError:
            # The server has closed it, having been asked nothing for a while; the next request opens it again.
            connection.close()
            connection.request(method, path, body, self.headers | (headers or {}))
            response = connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            text = answer.decode(errors="replace")
            if "json" in (response.headers["Content-Type"] or ""):
                text = json.loads(text)["detail"]
            raise Refused(f"{response.status}: {' '.join(text.split())[:160]}")
        return response, answer

    def render(self, photo, width, format, connection=None):
        """The variant's bytes, made for this request."""
        response, answer = self.ask("GET", self.path(photo, width, format), connection=connection)
        if response.headers["Content-Type"] != f"image/{format}":
            raise Refused(f"answers {response.headers['Content-Type']} instead")
        self.check(response)
        return answer

    def check(self, response):
        """Fails when an answer was not made for this request. Only pinhole keeps answers, and says so."""

    def path(self, photo, width, format):
        raise NotImplementedError

    def take_in(self, photo):
        """Makes a photo known to the server, if its folder does not do that."""

    def cpu_ms(self):
        """CPU time so far, of all threads, in user and kernel mode: what /proc/PID/stat has in ticks of
        10 ms, by the clock that clock_getcpuclockid(3) names, in nanoseconds."""
        return time.clock_gettime_ns((~self.pid << 3) | 2) / 1e6

    def settle(self):
        """Waits until the server does nothing any more."""
        calm, before = 0, self.cpu_ms()
        while calm < 5:
            time.sleep(0.1)
            now = self.cpu_ms()
            calm = calm + 1 if now - before < 1 else 0
            before = now

    def memory_mib(self, field):
        """VmRSS or VmHWM, the most that VmRSS was since the last forget_peak."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(rf"^{field}:\s+(\d+) kB", status.read(), re.MULTILINE)[1]) / 1024

    def forget_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as clear:
            clear.write("5")


class Pinhole(Contender):
    """`pinhole dev`: with database and bucket in the same process, which costs it the fetching too."""

    def __init__(self, name, binary, settings, log):
        self.data = tempfile.TemporaryDirectory(dir=log)
        listen = [f"--{what}listen=127.0.0.1:0" for what in ("", "s3-", "ops-")]
        # Nothing is kept, so that every request is a render, and reads its source from the bucket.
        settings = {"PINHOLE_CACHE__MEMORY_BYTES": "0"} | settings
        super().__init__(name, [binary, "dev", "--data", self.data.name, *listen], log, settings)
        self.wait_for("(operations)")
        self.connect(self.wait_for(r"demo page, API, images\D*//127.0.0.1:(\d+)"))
        _, session = self.ask("POST", "/dev/session", '{"user":"alice"}', {"Content-Type": "application/json"})
        self.headers = {"Authorization": f"Bearer {json.loads(session)['token']}"}
        self.images = {}
        self.upload_ms = {}

    def take_in(self, photo):
        with open(photo.path, "rb") as file:
            content = file.read()
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="photo"\r\n\r\n'.encode()
        form = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        self.settle()
        before = self.cpu_ms()
        _, answer = self.ask("POST", "/v1/images", head + content + f"\r\n--{boundary}--\r\n".encode(), form)
        self.settle()
        self.upload_ms[photo.name] = self.cpu_ms() - before
        self.images[photo.name] = json.loads(answer)["id"]

    def path(self, photo, width, format):
        if photo.name not in self.images:
            raise Refused("did not take the photo in")
        return f"/i/{self.images[photo.name]}/width={width},format={format}"

    def check(self, response):
        timing = response.headers["Server-Timing"] or ""
        if "render;dur=" not in timing:
            raise SystemExit(f"benches/renders: {self.name} did not render: Server-Timing: {timing}")


class Sharp(Contender):
    """sharp in a small server of Node's, which reads the photos from their folder."""

    def __init__(self, home, folder, log):
        super().__init__("sharp", ["node", os.path.join(home, "server.mjs"), folder], log, {})
        self.connect(self.wait_for(r'"port":(\d+)'))
        self.about = json.loads(self.said().splitlines()[-1])

    def path(self, photo, width, format):
        return f"/{width}/{format}/{urllib.parse.quote(photo.name)}"


class Oximg(Contender):
    """oximg's own server, which reads the photos from their folder and has no cache."""

    def __init__(self, binary, folder, log):
        where = {"IMAGES_DIR": folder, "PORT": "0", "OXIMG_BIND": "127.0.0.1"}
        super().__init__("oximg", [binary], log, where)
        self.connect(self.wait_for(r"listening on \S*:(\d+)"))

    def path(self, photo, width, format):
        return f"/resize/{width}/0/{urllib.parse.quote(photo.name)}@{format}"
