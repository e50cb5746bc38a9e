"""How good a variant looks: SSIMULACRA2 against what independent tools make of the same photo."""

import collections
import hashlib
import io
import os
import subprocess

from PIL import Image, ImageCms, ImageOps

Score = collections.namedtuple("Score", "linear stored size")

SRGB = ImageCms.createProfile("sRGB")


def upright(image):
    """The picture as it is meant to be seen: turned as its EXIF says, in sRGB, without alpha."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image).convert("RGB")
    if profile and (profile := ImageCms.ImageCmsProfile(io.BytesIO(profile))).profile.xcolor_space == "RGB ":
        image = ImageCms.profileToProfile(image, profile, SRGB)
    image.info.clear()
    return image


def decoded(variant, format, folder):
    """A variant's pixels, by decoders that are none of the contenders'."""
    if format != "avif":
        return upright(Image.open(io.BytesIO(variant)))
    avif, png = (os.path.join(folder, f"variant.{ending}") for ending in ("avif", "png"))
    with open(avif, "wb") as file:
        file.write(variant)
    subprocess.run(["avifdec", avif, png], check=True, stdout=subprocess.DEVNULL)
    return upright(Image.open(png))


class Judge:
    """Keeps the references of each photo and size, and scores variants against them."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder
        self.scores = {}

    def references(self, photo, size):
        """Two pictures of the photo at this size, both by Lanczos with three lobes.

        In linear light, which is how light adds up, by ImageMagick with 16 bits a sample; on the stored
        values, which is what most programs do, by Pillow.
        """
        stem = os.path.join(self.folder, f"{hashlib.sha256(photo.name.encode()).hexdigest()[:12]}-{size[0]}x{size[1]}")
        linear, stored = f"{stem}-linear.png", f"{stem}-stored.png"
        if not os.path.exists(stored):
            whole = upright(Image.open(photo.path))
            source = os.path.join(self.folder, "source.png")
            whole.save(source, compress_level=1)
            resize = ["-colorspace", "RGB", "-filter", "Lanczos", "-resize", f"{size[0]}x{size[1]}!"]
            # Some versions cut to 8 bits where they should round; 256 levels are rounded to by all.
            save = ["-colorspace", "sRGB", "+dither", "-posterize", "256", "-depth", "8", f"PNG24:{linear}"]
            subprocess.run(["convert", source, *resize, *save], check=True)
            whole.resize(size, Image.LANCZOS).save(stored)
        return linear, stored

    def score(self, photo, variant, format):
        """SSIMULACRA2 against both references, of which 100 is the best, and the variant's size."""
        key = (photo.name, hashlib.sha256(variant).digest())
        if key not in self.scores:
            picture = decoded(variant, format, self.folder)
            png = os.path.join(self.folder, "judged.png")
            picture.save(png, compress_level=1)
            compared = [self.compare(reference, png) for reference in self.references(photo, picture.size)]
            self.scores[key] = Score(*compared, picture.size)
        return self.scores[key]

    def compare(self, reference, png):
        said = subprocess.run([self.binary, "image", reference, png], check=True, capture_output=True, text=True).stdout
        return float(said.split()[-1])
