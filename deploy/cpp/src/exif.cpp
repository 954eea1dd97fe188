#include "exif.h"

namespace deploy {

using namespace std::string_view_literals;

/// The orientation is tag 0x0112 of the first directory, whose entries have 12 bytes each.
int exif_orientation(Span tiff) {
    if (tiff.starts_with("Exif\0\0"sv)) tiff = tiff.from(6);
    bool big_endian = tiff.starts_with("MM");
    if (!big_endian && !tiff.starts_with("II")) return 1;
    Span directory = tiff.from(tiff.number(4, 4, big_endian));
    uint32_t num_entries = directory.number(0, 2, big_endian);
    for (uint32_t i = 0; i < num_entries; ++i) {
        if (directory.number(2 + 12 * i, 2, big_endian) != 0x0112) continue;
        uint32_t value = directory.number(2 + 12 * i + 8, 2, big_endian);
        return value >= 1 && value <= 8 ? int(value) : 1;
    }
    return 1;
}

namespace {

/// The pixel at (y, x) of the upright picture is that at `origin + y * down + x * across` of the file's.
struct Walk {
    const Byte* origin;
    std::ptrdiff_t down, across;
};

Walk walk(const Image& pixels, int orientation) {
    const std::ptrdiff_t row = std::ptrdiff_t(pixels.cols) * 3;
    const Byte *left = pixels.ptr(0), *right = pixels.ptr(0, pixels.cols - 1), *below = pixels.ptr(pixels.rows - 1);
    switch (orientation) {
        case 2: return {right, row, -3};
        case 3: return {pixels.ptr(pixels.rows - 1, pixels.cols - 1), -row, -3};
        case 4: return {below, -row, 3};
        case 5: return {left, 3, row};
        case 6: return {below, 3, -row};
        case 7: return {pixels.ptr(pixels.rows - 1, pixels.cols - 1), -3, -row};
        case 8: return {right, -3, row};
        default: return {left, row, 3};
    }
}

}  // namespace

void turn(Image& pixels, int orientation) {
    if (orientation == 1) return;
    Image turned;
    const bool on_its_side = orientation >= 5;
    turned.create(on_its_side ? pixels.cols : pixels.rows, on_its_side ? pixels.rows : pixels.cols);
    const auto [origin, down, across] = walk(pixels, orientation);
    const int side = 32;  // of squares whose rows and columns both fit into the cache
    for (int top = 0; top < turned.rows; top += side)
        for (int left = 0; left < turned.cols; left += side)
            for (int y = top; y < std::min(top + side, turned.rows); ++y) {
                const Byte* in = origin + y * down + left * across;
                for (int x = left; x < std::min(left + side, turned.cols); ++x, in += across) std::copy_n(in, 3, turned.ptr(y, x));
            }
    pixels = std::move(turned);
}

}  // namespace deploy
