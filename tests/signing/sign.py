"""Signs a link of pinhole: python3 sign.py PATH EXP KID EP SECRET, and what an app's backend in Python needs is `sign`.

PATH is /i/{id}/{options} as it will be asked for, byte for byte: the signature is over that spelling. EP is the
image's epoch (GET /v1/images/{id}): with another one the link is a 404. EXP, in Unix seconds, is best rounded up to a
window, as 900 * -(-(now + lifetime) // 900), so that all viewers share one URL and a cache one copy.
"""

import base64
import hashlib
import hmac
import sys


def sign(path, exp, kid, ep, secret):
    claim = f"{path}?exp={exp}&kid={kid}&ep={ep}"
    key = base64.urlsafe_b64decode(secret + "=")
    mac = hmac.new(key, claim.encode(), hashlib.sha256).digest()
    return f"{claim}&sig={base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


if __name__ == "__main__":
    print(sign(*sys.argv[1:]))
