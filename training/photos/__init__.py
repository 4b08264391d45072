"""Photos that training data is made of: any folder, or pools that come with well-known packages.

`open_photos` is the way in. Only photos that are free for any use are in the catalogue (`pools`), and none that
a test of this program uses: those are known by content and left out of every folder too (`likeness.held_out`).
"""

from training.photos.photo import Photo, PhotoError, Photos, Skipped
from training.photos.source import open_photos

__all__ = ["Photo", "PhotoError", "Photos", "Skipped", "open_photos"]
