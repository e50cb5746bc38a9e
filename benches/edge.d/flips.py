"""Makes an image private again and again, and asks the edge until it refuses it: prints how long it still showed it."""

import argparse
import http.client
import json
import subprocess
import threading
import time
import urllib.parse

# What is refused for so long is taken to be refused for good; a fill that was under way would have come by then.
SETTLED_SECS = 0.5
POLL_SECS = 0.005
PATIENCE_SECS = 120


class Server:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)

    def ask(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        return answer.status, answer.getheader("cache-status", ""), answer.read()


def main():
    parser = argparse.ArgumentParser()
    for name in ["origin", "edge", "token", "photo"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--flips", type=int, required=True)
    parser.add_argument("--later", nargs="+", default=[], help="seconds, and a command to run so long after each flip")
    args = parser.parse_args()
    begun = []
    origin, edge = Server(args.origin), Server(args.edge)
    auth = {"Authorization": f"Bearer {args.token}"}
    as_json = {**auth, "Content-Type": "application/json"}

    def api(method, path, body, headers):
        status, _, answer = origin.ask(method, path, body, headers)
        assert status < 300, answer
        return json.loads(answer)

    with open(args.photo, "rb") as photo:
        image = api("POST", "/v1/images", photo.read(), {**auth, "Content-Type": "image/jpeg"})["id"]
    wanted = {"text": "", "visibility": "private", "images": [image]}
    post = api("POST", "/v1/posts", json.dumps(wanted), as_json)["id"]

    def show(visibility):
        api("PATCH", f"/v1/posts/{post}", json.dumps({"visibility": visibility}), as_json)

    took = []
    for _ in range(args.flips):
        show("public")
        links = {"images": [{"id": image, "options": "width=320"}]}
        link = api("POST", "/v1/links", json.dumps(links), as_json)["links"][0]["url"]
        paths = [f"/i/{image}/width=320", link[link.index("/i/") :]]
        for path in paths:
            until = time.monotonic() + PATIENCE_SECS
            while "hit" not in edge.ask("GET", path)[1]:
                assert time.monotonic() < until, "it never becomes a hit"
                time.sleep(POLL_SECS)
        show("private")
        began = shown = time.monotonic()
        if args.later:
            seconds, *command = args.later
            threading.Timer(float(seconds), lambda: begun.append(subprocess.Popen(command))).start()
        while (now := time.monotonic()) < shown + SETTLED_SECS:
            if any(edge.ask("GET", path)[0] == 200 for path in paths):
                shown = time.monotonic()
            assert now < began + PATIENCE_SECS, "it is shown for ever"
            time.sleep(POLL_SECS)
        took.append(shown - began)
    for process in begun:
        process.kill()
    took.sort()
    at = lambda percent: took[min(len(took) * percent // 100, len(took) - 1)]
    print(f"p50 {at(50):.3f}   p99 {at(99):.3f}   max {took[-1]:.3f}   of {len(took)}")


main()
