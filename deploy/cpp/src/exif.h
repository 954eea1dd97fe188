// Which way up a picture is; the twin of data/pictures/exif.py, which says what counts.
#pragma once

#include "bytes.h"
#include "image.h"

namespace deploy {

/// 1..8 from EXIF data, which is a small TIFF file; 1 (upright) where it says nothing or nonsense.
int exif_orientation(Span tiff);

/// Turn and mirror `pixels` so that a picture with this EXIF orientation stands upright.
void turn(Image& pixels, int orientation);

}  // namespace deploy
