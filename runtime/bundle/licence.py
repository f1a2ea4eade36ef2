"""Whether a bundle carries the licence that its weights are under."""

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import LICENCE_FILE
from runtime.errors import BundleError

# Weights of these families are under CC-BY-NC-4.0, and every artefact must say so.
_NON_COMMERCIAL_TAGS = ("fb_ssl_", "fb_swsl_")
NON_COMMERCIAL = "CC-BY-NC-4.0"


def check_licence(bundle: Bundle) -> None:
    """Refuse a bundle that does not carry its weights' licence.

    Raises:
        BundleError: The licence file does not name the manifest's licence, or an ssl or swsl network
            has another licence than CC-BY-NC-4.0.
    """
    licence, tag = bundle.manifest.licence, bundle.manifest.model.timm_tag or ""
    if any(family in tag for family in _NON_COMMERCIAL_TAGS) and licence.spdx != NON_COMMERCIAL:
        raise BundleError(
            f"{bundle.path}: the manifest says {licence.spdx}, but weights of {tag} are under {NON_COMMERCIAL}: "
            "export the bundle again"
        )
    text = (bundle.path / LICENCE_FILE).read_text(encoding="utf-8")
    if f"SPDX-License-Identifier: {licence.spdx}" not in text:
        raise BundleError(
            f"{bundle.path / LICENCE_FILE} does not name {licence.spdx}, as the manifest does: export again"
        )
