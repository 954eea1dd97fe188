// From what decoders give to 8-bit BGR, in whole numbers; the twin of data/pictures/pixels.py.
#pragma once

#include <algorithm>
#include <vector>

#include "image.h"

namespace deploy {

/// 16 bits -> 8, 65535 -> 255, rounded.
inline Byte eight_bits(unsigned value) { return Byte((value + 128) / 257); }

inline Byte over_white(unsigned value, unsigned alpha) { return Byte((value * alpha + 255 * (255 - alpha) + 127) / 255); }

/// Of a colour that was multiplied by its alpha. (Where alpha is 0 it does not matter.)
inline Byte divided(unsigned value, unsigned alpha) { return Byte(std::min(value * 255 / std::max(alpha, 1u), 255u)); }

/// One of R, G, B from its light (255 - ink) and that of black.
inline Byte light(unsigned colour, unsigned black) { return Byte((colour * black + 127) / 255); }

/// Up to 256 colours, as Pillow has it: black, or greys where all that are there are the greys of their numbers.
inline void fill_palette(std::vector<Pixel>& palette) {
    bool greys = true;
    for (size_t i = 0; i < palette.size(); ++i) greys = greys && palette[i] == grey_pixel(Byte(i));
    while (palette.size() < 256) palette.push_back(greys ? grey_pixel(Byte(palette.size())) : Pixel{});
}

}  // namespace deploy
