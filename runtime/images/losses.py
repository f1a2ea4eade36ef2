"""What images lost on their way to the network, counted one by one and said once a run in the same words."""

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self

from runtime.support.words import counted, verb_for

# Different files hardly ever give the same outputs to the last bit: from this share of images on it is said.
_REPEATED_SHARE = 0.05
_FEWEST_REPEATED = 3


class Losses(BaseModel):
    """Counts of images that lost something; of one image, ones and zeros.

    Attributes:
        clipped: Number of images with values below 0 or above 255, which became 0 and 255.
        fractions: Number of floating-point images with values of 0 to 1, of which no fraction remains.
        turned: Number of images whose EXIF orientation was not applied.
        transparent: Number of images with transparent parts, whose transparency was dropped.
        coloured: Number of images in colour, of which a network for grey images sees the luminance alone.
        opaque: Number of images without alpha, for which a network with alpha sees 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    clipped: int = 0
    fractions: int = 0
    turned: int = 0
    transparent: int = 0
    coloured: int = 0
    opaque: int = 0

    def __add__(self, other: "Losses") -> Self:
        mine, others = self.model_dump(), other.model_dump()
        return type(self)(**{name: count + others[name] for name, count in mine.items()})

    def sentences(self) -> tuple[str, ...]:
        """Return a sentence for each kind of loss that an image had: what was lost, and the next step."""
        told = (
            (
                self.clipped,
                "values below 0 or above 255, which were clipped, so that most of the picture may be white: pass "
                "--depth16 scale for 16-bit greyscale, and scale others to 8 bits first",
            ),
            (
                self.fractions,
                "floating-point values of 0 to 1, which are black as pixels of 0 to 255: multiply them by 255 and save "
                "them with 8 bits",
            ),
            (
                self.turned,
                "an EXIF orientation that was not applied, so that the network saw it turned: pass --exif-rotate, if "
                "the network was trained on upright pictures",
            ),
            (
                self.transparent,
                "transparent parts; transparency was dropped, not blended, so that hidden colours become visible: "
                "paste such pictures on a background first, if that is wrong",
            ),
            (
                self.coloured,
                "colours, and the network takes one grey channel: the luminance was taken (0.299 R + 0.587 G + 0.114 "
                "B); pass grey images, if it was not trained so",
            ),
            (
                self.opaque,
                "no fourth channel, and the network takes one: 255 was taken for it; pass images with alpha, such as "
                "PNG files of RGBA, if it was trained on them",
            ),
        )
        return tuple(f"{counted(count, 'image')} {verb_for(count, 'have')} {what}" for count, what in told if count)


# A picture that was read as it is.
NO_LOSSES = Losses()


def describe_repeats(repeated: int, images: int, *, what: str) -> tuple[str, ...]:
    """Return a sentence on images that the network cannot tell apart, or nothing where there are few.

    Args:
        repeated: Number of images whose outputs equal another image's.
        images: Number of all images.
        what: What is equal, such as `embeddings`.
    """
    if repeated < max(_FEWEST_REPEATED, _REPEATED_SHARE * images):
        return ()
    return (
        f"{repeated:,} of {images:,} images have the same {what} as another image, to the last bit: expected nearly "
        "none; look at what the network saw of them: clipped values, blank pictures, copies, or weights that ignore "
        "their input",
    )
