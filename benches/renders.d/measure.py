"""Measures and prints the tables. benches/renders starts this, once all that it needs is there."""

import argparse
import collections
import concurrent.futures
import os
import re
import signal
import sys
import tempfile
import time

from PIL import Image

import tables
from contenders import RUNNING, DoesNotStart, Oximg, Pinhole, Refused, Sharp
from quality import Judge
from tables import MASTER, ORIGINAL, Cell, Photo, label, megapixels, say

WIDTHS = (400, 1200)
FORMATS = ("jpeg", "webp", "avif")
# What makes pinhole render from the original: no masters. As it comes, it renders through them.
NO_MASTERS = {"PINHOLE_MASTERS__SIDES": ""}
# Renders at once, and the megapixels from which photos are tried with so many.
AT_ONCE, LARGE_MP = 8, 20


def photos_in(folder):
    """The photos, smallest first."""
    found = []
    for entry in os.scandir(folder):
        try:
            with Image.open(entry.path) as image:
                found.append(Photo(entry.name, entry.path, *image.size, image.format, entry.stat().st_size))
        except (OSError, Image.UnidentifiedImageError) as error:
            say(f"Left out: {entry.name}: {error}")
    return sorted(found, key=lambda photo: (photo.width * photo.height, photo.name))


def busy_ms():
    """The time that all cores together were not idle; stolen time counts."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:]]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6, 7)) * 1000 / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, given, folder):
        self.given = given
        self.folder = folder
        self.has_masters = True
        self.no_masters = NO_MASTERS

    def start(self, name):
        """A fresh process of one contender."""
        given = self.given
        if name == "sharp":
            return Sharp(given.sharp, given.photos, self.folder)
        if name == "oximg":
            return Oximg(given.oximg, given.photos, self.folder)
        return Pinhole(name, given.pinhole, self.no_masters if name == ORIGINAL else {}, self.folder)

    def start_all(self, photos):
        """One process of each; pinhole's have taken the photos in."""
        try:
            contenders = [self.start(ORIGINAL), self.start(MASTER)]
        except DoesNotStart as said:
            if "unknown field" not in str(said):
                raise
            say("This pinhole knows no masters: measured from the original alone")
            self.has_masters, self.no_masters = False, {}
            contenders = [self.start(ORIGINAL)]
        for contender in contenders:
            for photo in photos:
                take_in(contender, photo)
        return contenders + [self.start("sharp"), self.start("oximg")]

    def measure(self, contenders, cells):
        """CPU-ms per render of each contender and round, and what each answered: both by (cell, name)."""
        times, answers, refusals = collections.defaultdict(list), {}, collections.defaultdict(list)
        repetitions, spent, busy_before, clock_before = {}, 0, busy_ms(), time.monotonic()
        for count, cell in enumerate(cells):
            able = []
            for contender in contenders:
                try:
                    contender.render(*cell)
                    before = contender.cpu_ms()
                    answers[cell, contender.name] = contender.render(*cell)
                except Refused as refused:
                    refusals[contender.name, str(refused)].append(cell)
                else:
                    able.append(contender)
                    once = max(contender.cpu_ms() - before, 0.1)
                    repetitions[contender] = min(max(round(self.given.millis / once), 1), 200)
                    spent += 2 * once
            for turn in range(self.given.rounds):
                first = turn % max(len(able), 1)
                for contender in able[first:] + able[:first]:
                    before = contender.cpu_ms()
                    for _ in range(repetitions[contender]):
                        contender.render(*cell)
                    took = contender.cpu_ms() - before
                    spent += took
                    times[cell, contender.name].append(took / repetitions[contender])
            say(f"  {count + 1} of {len(cells)}: {cell.photo.name} → {cell.width} px {cell.format}")
        others = busy_ms() - busy_before - spent - time.process_time() * 1000
        self.others = max(others / 1000 / (time.monotonic() - clock_before), 0)
        return times, answers, refusals

    def memory(self, photos):
        """Rows of peak memory, with so many renders of one photo at once in a fresh process."""
        for photo in (photo for photo in photos if megapixels(photo) >= LARGE_MP):
            for name in [ORIGINAL] + [MASTER] * self.has_masters + ["sharp", "oximg"]:
                contender = self.start(name)
                take_in(contender, photo)
                contender.settle()
                contender.forget_peak()
                before, failed = contender.memory_mib("VmRSS"), []
                # Different widths, since equal requests at the same time would share one render.
                with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                    for i in range(AT_ONCE):
                        pool.submit(one, contender, photo, 1200 - i, failed)
                peak = f"**{contender.memory_mib('VmHWM'):.0f}**" if not failed else f"refused: {failed[0]}"
                yield f"| {photo.name} | {name} | {before:.0f} | {peak} |"
                contender.stop()


def stop_all():
    while RUNNING:
        RUNNING[-1].stop()


def take_in(contender, photo):
    try:
        contender.take_in(photo)
    except Refused as refused:
        say(f"{contender.name} does not take {photo.name} in: {refused}")


def one(contender, photo, width, failed):
    try:
        contender.render(photo, width, "jpeg", contender.another_connection())
    except (Refused, OSError) as error:
        failed.append(error)


def main():
    given = argparse.ArgumentParser()
    for option in ("--photos", "--pinhole", "--oximg", "--sharp", "--judge", "--only", "--header"):
        given.add_argument(option, required=True)
    given.add_argument("--rounds", type=int, required=True)
    given.add_argument("--millis", type=int, required=True)
    given = given.parse_args()

    photos = photos_in(given.photos)
    cells = [Cell(photo, width, format) for photo in photos for width in WIDTHS for format in FORMATS]
    cells = [cell for cell in cells if re.search(given.only, " ".join(label(cell)))]
    photos = [photo for photo in photos if any(photo in cell for cell in cells)]
    if not cells:
        raise SystemExit(f"benches/renders: no photo in {given.photos}, or none that --only lets through")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="pinhole-renders.") as folder:
        bench = Bench(given, folder)
        try:
            run(bench, photos, cells)
        finally:
            stop_all()


def run(bench, photos, cells):
    given = bench.given
    say("Starting the servers and uploading the photos")
    contenders = bench.start_all(photos)
    names = [contender.name for contender in contenders]
    uploads = {contender.name: contender.upload_ms for contender in contenders if isinstance(contender, Pinhole)}
    sharp = contenders[-2].about

    say(f"Measuring: {given.rounds} rounds of {len(cells)} variants")
    times, answers, refusals = bench.measure(contenders, cells)
    stop_all()
    say("Measuring memory")
    memory = list(bench.memory(photos))

    print("```\n" + given.header)
    print(
        f"sharp       {sharp['version']}, libvips {sharp['vips']}, {sharp['threads']} thread(s) a picture, as it chooses here"
    )
    print(f"Load        {given.rounds} rounds, some {given.millis} ms of CPU each; one request at a time")
    for photo in photos:
        print(f"Photo       {photo.name}: {photo.kind}, {photo.width}×{photo.height}, {photo.size / 1e6:.1f} MB")
    print("```")

    tables.print_costs(cells, names, times)
    say("Scoring")
    tables.print_quality(cells, names, answers, Judge(given.judge, bench.folder))

    for (name, why), refused in refusals.items():
        what = ", ".join(sorted({f"{cell.photo.kind} → {cell.format}" for cell in refused}))
        print(f"\nLeft out: {name} refuses {what} ({why.rstrip('.')}).")

    tables.print_uploads(photos, uploads)
    if memory:
        print(f"\nResident memory, MiB, of a fresh process before and at its peak during {AT_ONCE} renders at once.")
        print("\n| photo | | before | peak |\n|---|---|---|---|")
        print("\n".join(memory))

    print(f"\nOther processes had {bench.others:.2f} of a core meanwhile.")
    if bench.others > 0.15:
        print("That disturbs: measure again when the machine is calm.")


if __name__ == "__main__":
    main()
