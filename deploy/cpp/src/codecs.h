// One function for each format: an encoded picture (its first, where there are several) -> 8-bit BGR, continuous, alpha laid
// over white, not turned. They return its EXIF orientation, 1 where the format has none. See data/decode.py for what a complete
// picture is. Throw PictureError.
#pragma once

#include "bytes.h"
#include "image.h"

namespace deploy {

/// At the least of the scales k/8 that leaves both sides `at_least` pixels; smaller: is that less than its own size?
int read_jpeg(const Bytes& content, size_t max_pixels, size_t at_least, Image& bgr, bool& smaller);
int read_png(const Bytes& content, size_t max_pixels, Image& bgr);
int read_webp(const Bytes& content, size_t max_pixels, Image& bgr);
int read_bmp(const Bytes& content, size_t max_pixels, Image& bgr);
int read_tiff(const Bytes& content, size_t max_pixels, Image& bgr);
int read_gif(const Bytes& content, size_t max_pixels, Image& bgr);
int read_pnm(const Bytes& content, size_t max_pixels, Image& bgr);

}  // namespace deploy
