// What a file is, by its first bytes; the twin of data/pictures/formats.py.
#pragma once

#include "bytes.h"

namespace deploy {

enum class Format { jpeg, png, webp, bmp, tiff, gif, pnm };

/// Throws PictureError for files of all other formats, with their name where it is known.
Format format_of(Span content);

}  // namespace deploy
