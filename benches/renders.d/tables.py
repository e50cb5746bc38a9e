"""The tables that are printed, and what they are about."""

import collections
import statistics
import sys

# The contender that renders from the original, and the one that does it through a master.
ORIGINAL, MASTER = "pinhole, original", "pinhole, master"
Photo = collections.namedtuple("Photo", "name path width height kind size")
Cell = collections.namedtuple("Cell", "photo width format")


def say(text):
    print(text, file=sys.stderr, flush=True)


def megapixels(photo):
    return photo.width * photo.height / 1e6


def table(*rows):
    """A Markdown table; the first row is its head."""
    print("\n| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |")


def label(cell):
    return [cell.photo.name, f"{cell.width} {cell.format}"]


def wanted_ratio(cell):
    """How many times faster than the faster of the others pinhole aims to be through a master."""
    return 5 if cell.width <= 400 and megapixels(cell.photo) >= 12 else 3


def print_costs(cells, names, times):
    """CPU per variant, and how many times faster than the faster of the others, by round, pinhole is."""
    ours = [name for name in names if name.startswith("pinhole")]
    others = [name for name in names if name not in ours]
    rows, reached = [], collections.Counter()
    for cell in cells:
        faster = [min(each) for each in zip(*(times[cell, name] for name in others if times[cell, name]))]
        row = label(cell) + [f"{statistics.median(t):.1f}" if (t := times[cell, name]) else "–" for name in names]
        for name in ours:
            if not (faster and times[cell, name]):
                row.append("–")
                continue
            ratio = statistics.median(f / p for f, p in zip(faster, times[cell, name]))
            reached[name] += ratio >= (1 if name == ORIGINAL else wanted_ratio(cell))
            reached[name, "of"] += 1
            row.append(f"{ratio:.2f}")
        rows.append(row)
    print("\nCPU-ms per variant, median of the rounds; × is how many times faster than the faster of the others.")
    table(["photo", "to", *names, *(f"× {name.split(', ')[1]}" for name in ours)], *rows)
    print()
    for name in ours:
        aim = "not slower than the faster other" if name == ORIGINAL else "3 × as fast (400 px from 12 MP up: 5 ×)"
        print(f"{name}: {aim} in {reached[name]} of {reached[name, 'of']}.")


def print_quality(cells, names, answers, judge):
    """Score against both references, and bytes."""
    ours = [name for name in names if name.startswith("pinhole")]
    rows, reached, unequal = [], collections.Counter(), []
    for count, cell in enumerate(cells):
        scores = {
            name: judge.score(cell.photo, answers[cell, name], cell.format) for name in names if (cell, name) in answers
        }
        row = label(cell)
        for name in names:
            row.append(
                f"{scores[name].linear:.1f} / {scores[name].stored:.1f} / {len(answers[cell, name]) / 1000:.1f}"
                if name in scores
                else "–"
            )
        rows.append(row)
        if len({score.size for score in scores.values()}) > 1:
            sizes = (f"{name} {score.size[0]}×{score.size[1]}" for name, score in scores.items())
            unequal.append(f"{' '.join(label(cell))}: {', '.join(sizes)}")
        if others := [scores[name] for name in scores if name not in ours]:
            for name in set(ours) & set(scores):
                reached[name, "of"] += 1
                for which in (0, 1):
                    reached[name, which] += scores[name][which] >= max(score[which] for score in others)
        say(f"  scored {count + 1} of {len(cells)}")
    print("\nSSIMULACRA2 against a reference made in linear light / on stored values / and kB.")
    table(["photo", "to", *names], *rows)
    print()
    for name in ours:
        print(
            f"{name}: not below the better of the others in {reached[name, 0]} of {reached[name, 'of']} "
            f"in linear light, {reached[name, 1]} on stored values."
        )
    for sizes in unequal:
        print(f"\nNot of one size, each judged by a reference of its own: {sizes}.")


def print_uploads(photos, uploads):
    def cost(photo, ms):
        return f"{ms[photo.name]:.0f}" if photo.name in ms else "–"

    rows = [[photo.name] + [cost(photo, ms) for ms in uploads.values()] for photo in photos]
    print("\nWhat an upload costs pinhole once, CPU-ms, all that follows it included.")
    table(["photo", *uploads], *rows)
