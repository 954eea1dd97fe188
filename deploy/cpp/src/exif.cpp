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

void turn(cv::Mat& pixels, int orientation) {
    cv::Mat turned;
    if (orientation >= 5) {  // lies on its side
        cv::transpose(pixels, turned);
        pixels = turned;
        turned = cv::Mat();
    }
    // What is left to mirror: 1 horizontally, 0 vertically, -1 both.
    switch (orientation) {
        case 2: case 6: cv::flip(pixels, turned, 1); break;
        case 3: case 7: cv::flip(pixels, turned, -1); break;
        case 4: case 8: cv::flip(pixels, turned, 0); break;
        default: return;
    }
    pixels = turned;
}

}  // namespace deploy
