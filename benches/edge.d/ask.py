"""Asks for every URL of a file once, over a few connections; fails unless each is answered with 200."""

import http.client
import sys
import threading
import urllib.parse

CONNECTIONS = 8


def ask(urls, wrong):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(urls[0]).netloc, timeout=60)
    for url in urls:
        connection.request("GET", url[url.index("/i/") :])
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            wrong.append(f"{answer.status} {url}")


with open(sys.argv[1]) as file:
    lines = file.read().split()
wrong = []
threads = [threading.Thread(target=ask, args=(lines[n::CONNECTIONS], wrong)) for n in range(min(CONNECTIONS, len(lines)))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("\n".join(wrong[:10]))
sys.exit(1 if wrong else 0)
