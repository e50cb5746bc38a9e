"""Writes the links that viewers of private images follow, in the order in which they come: once those of one window,
and once those that each viewer is given for himself, with an expiry of his own."""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import random
import time
import urllib.parse

SEEN_AT_ONCE = 20
LIFETIME_SECS = 900


def main():
    parser = argparse.ArgumentParser()
    for name in ["origin", "edge", "token", "photo", "secrets", "out"]:
        parser.add_argument(f"--{name}", required=True)
    for name in ["viewers", "images"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    origin = http.client.HTTPConnection(urllib.parse.urlsplit(args.origin).netloc, timeout=60)

    def api(path, body, kind):
        headers = {"Authorization": f"Bearer {args.token}", "Content-Type": kind}
        origin.request("POST", path, body, headers)
        answer = origin.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)

    with open(args.photo, "rb") as file:
        photo = file.read()
    # Bytes behind the end of a JPEG make it another image, and are left out of what is shown.
    images = [api("/v1/images", photo + bytes([n % 256, n // 256]), "image/jpeg")["id"] for n in range(args.images)]
    wanted = {"images": [{"id": image, "options": "width=320"} for image in images]}
    shared = {}
    for begin in range(0, len(images), 500):
        part = {"images": wanted["images"][begin : begin + 500], "expires_in": LIFETIME_SECS}
        for link in api("/v1/links", json.dumps(part), "application/json")["links"]:
            shared[link["id"]] = args.edge + link["url"][link["url"].index("/i/") :]
    with open(args.secrets) as file:
        kid, secret = json.load(file)["link_key"].split(":")
    key = base64.urlsafe_b64decode(secret + "=")

    def own(image, exp):
        claim = f"/i/{image}/width=320?exp={exp}&kid={kid}&ep=1"
        sig = base64.urlsafe_b64encode(hmac.new(key, claim.encode(), hashlib.sha256).digest()).rstrip(b"=")
        return f"{args.edge}{claim}&sig={sig.decode()}"

    chance = random.Random(1)
    now = int(time.time())
    with open(f"{args.out}/windowed", "w") as windowed, open(f"{args.out}/exact", "w") as exact:
        for viewer in range(args.viewers):
            for _ in range(SEEN_AT_ONCE):
                # A few are seen far more often than the others.
                image = images[int(chance.random() * chance.random() * len(images))]
                print(shared[image], file=windowed)
                # As if each had asked in a second of his own.
                print(own(image, now + LIFETIME_SECS + viewer), file=exact)


main()
