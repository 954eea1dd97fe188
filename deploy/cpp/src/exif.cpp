#include "exif.h"

#include <cstdint>
#include <cstring>

namespace deploy {
namespace {

/// Bounds-checked view of some bytes of a file.
struct Span {
    const unsigned char* data;
    size_t size;

    bool starts_with(const char* text, size_t length) const { return size >= length && std::memcmp(data, text, length) == 0; }
    Span from(size_t offset) const { return offset < size ? Span{data + offset, size - offset} : Span{data, 0}; }
    Span first(size_t length) const { return {data, length < size ? length : size}; }

    /// The unsigned number in `bytes` bytes at `offset`; 0 beyond the end.
    uint32_t number(size_t offset, int bytes, bool big_endian) const {
        if (offset > size || size - offset < size_t(bytes)) return 0;
        uint32_t value = 0;
        for (int i = 0; i < bytes; ++i) value = value << 8 | data[offset + (big_endian ? i : bytes - 1 - i)];
        return value;
    }
};

/// The EXIF segment of a JPEG (marker, length, data; the length counts itself), empty if there is none before the pixels.
Span jpeg_exif(Span file) {
    for (Span segment = file.from(2); segment.size >= 4 && segment.data[0] == 0xff && segment.data[1] != 0xda;) {
        size_t length = segment.number(2, 2, true);
        if (segment.data[1] == 0xe1 && segment.from(4).starts_with("Exif\0\0", 6)) return segment.from(4).first(length);
        segment = segment.from(2 + length);
    }
    return {nullptr, 0};
}

/// The EXIF chunk of a PNG (chunk: length, name, data, checksum), empty if there is none.
Span png_exif(Span file) {
    for (Span chunk = file.from(8); chunk.size >= 12;) {
        size_t length = chunk.number(0, 4, true);
        if (std::memcmp(chunk.data + 4, "eXIf", 4) == 0) return chunk.from(8).first(length);
        chunk = chunk.from(length + 12);
    }
    return {nullptr, 0};
}

/// The EXIF chunk of a WebP (chunk: name, length, data, padding to an even length), empty if there is none.
Span webp_exif(Span file) {
    for (Span chunk = file.from(12); chunk.size >= 8;) {
        size_t length = chunk.number(4, 4, false);
        if (std::memcmp(chunk.data, "EXIF", 4) == 0) return chunk.from(8).first(length);
        chunk = chunk.from(8 + length + length % 2);
    }
    return {nullptr, 0};
}

/// EXIF data is a small TIFF file; the orientation is tag 0x0112 of its first directory (entries of 12 bytes).
int tiff_orientation(Span tiff) {
    if (tiff.starts_with("Exif\0\0", 6)) tiff = tiff.from(6);
    bool big_endian = tiff.starts_with("MM", 2);
    if (!big_endian && !tiff.starts_with("II", 2)) return 1;
    Span directory = tiff.from(tiff.number(4, 4, big_endian));
    uint32_t num_entries = directory.number(0, 2, big_endian);
    for (uint32_t i = 0; i < num_entries; ++i) {
        if (directory.number(2 + 12 * i, 2, big_endian) != 0x0112) continue;
        uint32_t value = directory.number(2 + 12 * i + 8, 2, big_endian);
        return value >= 1 && value <= 8 ? int(value) : 1;
    }
    return 1;
}

}  // namespace

int exif_orientation(const std::vector<unsigned char>& content) {
    Span file{content.data(), content.size()};
    if (file.starts_with("\xff\xd8", 2)) return tiff_orientation(jpeg_exif(file));
    if (file.starts_with("\x89PNG", 4)) return tiff_orientation(png_exif(file));
    if (file.starts_with("RIFF", 4)) return tiff_orientation(webp_exif(file));
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
