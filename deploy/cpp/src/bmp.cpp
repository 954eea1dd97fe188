// BMP of Windows and OS/2, as Pillow reads it. There is no library for it alone.
#include <algorithm>
#include <optional>
#include <string>

#include "codecs.h"
#include "errors.h"
#include "pixels.h"

namespace deploy {
namespace {

enum Compression { RAW = 0, RLE8 = 1, RLE4 = 2, MASKS = 3 };

struct Header {
    size_t width = 0, height = 0, bits = 0, compression = RAW, colors = 0, entry = 4;  // entry: bytes of a colour in the palette
    bool from_top = false;
    uint32_t red = 0, green = 0, blue = 0, alpha = 0;  // masks
    size_t palette = 0, pixels = 0;                    // where they begin
};

bool is_known_size(size_t size) {
    for (size_t known : {12, 40, 52, 56, 64, 108, 124})
        if (size == known) return true;
    return false;
}

Header read_header(Span file) {
    Header header;
    const size_t size = file.little(14, 4);
    if (!is_known_size(size)) throw damaged("an unknown kind of BMP header");
    if (file.size < 14 + size) throw damaged("cut within its header");
    Span info = file.from(14);
    header.palette = 14 + size;
    if (size == 12) {
        header.width = info.little(4, 2);
        header.height = info.little(6, 2);
        header.bits = info.little(10, 2);
        header.entry = 3;
    } else {
        header.from_top = info.data[11] == 0xff;
        header.width = info.little(4, 4);
        header.height = header.from_top ? -info.little(8, 4) : info.little(8, 4);
        header.bits = info.little(14, 2);
        header.compression = info.little(16, 4);
        header.colors = info.little(32, 4);
    }
    if (header.compression == MASKS) {
        if (size == 40) header.palette += 12;  // they lie behind the header
        if (file.size < header.palette) throw damaged("cut within its header");
        header.red = info.little(40, 4);
        header.green = info.little(44, 4);
        header.blue = info.little(48, 4);
        if (size >= 56) header.alpha = info.little(52, 4);
    }
    if (header.colors == 0 && header.bits < 32) header.colors = size_t(1) << header.bits;
    header.pixels = file.little(10, 4);
    bool has_palette = header.bits <= 8;
    // Some programs forget that there is a palette.
    if (has_palette && header.pixels == 14 + size) header.pixels += header.entry * header.colors;
    if (header.pixels == 0) header.pixels = header.palette + (has_palette ? header.entry * header.colors : 0);
    return header;
}

std::vector<Pixel> read_palette(Span file, const Header& header) {
    if (header.colors > 65536) throw damaged("a palette that is too large");
    std::vector<Pixel> palette;
    Span entries = file.from(header.palette);
    for (size_t i = 0; i < std::min<size_t>(header.colors, 256) && entries.size >= header.entry; ++i, entries = entries.from(header.entry))
        palette.push_back({entries.data[0], entries.data[1], entries.data[2]});
    fill_palette(palette);
    return palette;
}

/// Indices of a picture whose runs are shortened, row for row from the bottom.
class Runs {
  public:
    Runs(Span file, const Header& header)
        : file_(file), place_(header.pixels), width_(header.width), length_(header.width * header.height), four_(header.compression == RLE4) {}

    std::vector<Byte> read() {
        while (indices_.size() < length_ && place_ + 2 <= file_.size) {
            size_t count = file_.data[place_], value = file_.data[place_ + 1];
            place_ += 2;
            if (count > 0)
                repeat(count, value);
            else if (value == 0)
                end_row();
            else if (value == 1)
                break;
            else if (!(value == 2 ? skip() : copy(value)))
                break;
        }
        if (indices_.size() < length_) throw damaged("it ends early");
        return std::move(indices_);
    }

  private:
    void repeat(size_t count, size_t value) {
        count = std::min(count, width_ - std::min(x_, width_));
        for (size_t i = 0; i < count; ++i) indices_.push_back(Byte(!four_ ? value : i % 2 ? value & 15 : value >> 4));
        x_ += count;
    }

    void end_row() {
        indices_.resize((indices_.size() + width_ - 1) / width_ * width_);
        x_ = 0;
    }

    bool skip() {
        if (place_ + 2 > file_.size) return false;
        size_t count = file_.data[place_] + file_.data[place_ + 1] * width_;
        place_ += 2;
        indices_.resize(std::min(length_, indices_.size() + count));
        x_ = indices_.size() % width_;
        return true;
    }

    bool copy(size_t value) {
        size_t count = std::min(length_ - indices_.size(), value), bytes = four_ ? (count + 1) / 2 : count;
        if (place_ + bytes > file_.size) return false;
        for (size_t i = 0; i < count; ++i) {
            Byte byte = file_.data[place_ + (four_ ? i / 2 : i)];
            indices_.push_back(!four_ ? byte : i % 2 ? byte & 15 : byte >> 4);
        }
        x_ += value;
        place_ += bytes;
        place_ += place_ % 2;  // to an even place in the file
        return true;
    }

    Span file_;
    size_t place_, width_, length_, x_ = 0;
    bool four_;
    std::vector<Byte> indices_;
};

/// How a pixel of 16, 24 or 32 bits becomes BGR.
class Colors {
  public:
    explicit Colors(const Header& header) : bytes_(header.bits / 8), masks_{header.blue, header.green, header.red, header.alpha} {
        if (header.compression == RAW)
            set(header.bits == 16 ? 0x7c00 : 0xff0000, header.bits == 16 ? 0x3e0 : 0xff00, header.bits == 16 ? 0x1f : 0xff, 0);
        else if (header.bits == 32 && !header.red && !header.green && !header.blue && !header.alpha)
            set(0xff0000, 0xff00, 0xff, 0xff000000);
        else if (!is_known(header))
            throw PictureError("BMP with colour masks that are not understood: convert it to PNG");
    }

    void convert(const Byte* in, int count, Byte* out) const {
        if (bytes_ == 3) {  // the usual kind, as it is wanted
            std::copy(in, in + 3 * size_t(count), out);
            return;
        }
        for (int x = 0; x < count; ++x, in += bytes_, out += 3) {
            uint32_t value = Span(in, bytes_).little(0, bytes_);
            for (int c = 0; c < 3; ++c) out[c] = masks_[3] ? over_white(part(value, c), part(value, 3)) : part(value, c);
        }
    }

  private:
    void set(uint32_t red, uint32_t green, uint32_t blue, uint32_t alpha) {
        masks_[0] = blue, masks_[1] = green, masks_[2] = red, masks_[3] = alpha;
    }

    /// Those that Pillow knows.
    bool is_known(const Header& h) {
        static const uint32_t known[][4] = {
            {0xff0000, 0xff00, 0xff, 0},          {0xff000000, 0xff0000, 0xff00, 0},   {0xff000000, 0xff00, 0xff, 0},
            {0xff000000, 0xff0000, 0xff00, 0xff}, {0xff, 0xff00, 0xff0000, 0xff000000}, {0xff0000, 0xff00, 0xff, 0xff000000},
            {0xff000000, 0xff00, 0xff, 0xff0000},
        };
        if (h.bits != 32) masks_[3] = 0;
        if (h.bits == 16) return h.blue == 0x1f && ((h.red == 0xf800 && h.green == 0x7e0) || (h.red == 0x7c00 && h.green == 0x3e0));
        if (h.bits == 24) return h.red == 0xff0000 && h.green == 0xff00 && h.blue == 0xff;
        for (const auto& masks : known)
            if (h.red == masks[0] && h.green == masks[1] && h.blue == masks[2] && h.alpha == masks[3]) return true;
        return false;
    }

    Byte part(uint32_t value, int which) const {
        uint32_t lowest = masks_[which] & -masks_[which];
        return Byte((value & masks_[which]) / lowest * 255 / (masks_[which] / lowest));
    }

    size_t bytes_;
    uint32_t masks_[4];
};

Byte index(const Byte* row, size_t x, size_t bits) {
    if (bits == 8) return row[x];
    return bits == 4 ? row[x / 2] >> (x % 2 ? 0 : 4) & 15 : row[x / 8] >> (7 - x % 8) & 1;
}

}  // namespace

int read_bmp(const Bytes& content, size_t max_pixels, Image& bgr) {
    Span file(content);
    Header header = read_header(file);
    check_size(header.width, header.height, max_pixels);
    bool has_palette = header.bits == 1 || header.bits == 4 || header.bits == 8;
    bool runs = header.compression == RLE8 || header.compression == RLE4;
    bool has_colors = header.bits == 16 || header.bits == 24 || header.bits == 32;
    if (!(has_palette ? header.compression != MASKS : has_colors && !runs) || header.compression > MASKS)
        throw PictureError("BMP of " + std::to_string(header.bits) + " bits with compression " + std::to_string(header.compression) +
                           " is not understood: convert it to PNG");
    const size_t stride = (header.width * header.bits + 31) / 32 * 4;
    const size_t needed = stride * (header.height - 1) + (header.width * header.bits + 7) / 8;  // the last row need not be filled up
    if (!runs && (file.size < header.pixels || file.size - header.pixels < needed)) throw damaged("it ends early");
    std::vector<Pixel> palette;
    std::vector<Byte> indices;
    if (has_palette) palette = read_palette(file, header);
    if (runs) indices = Runs(file, header).read();
    std::optional<Colors> colors;
    if (!has_palette) colors.emplace(header);
    bgr.create(int(header.height), int(header.width));
    for (size_t y = 0; y < header.height; ++y) {
        auto* out = bgr.ptr(int(header.from_top ? y : header.height - 1 - y));
        const Byte* row = runs ? indices.data() + y * header.width : file.data + header.pixels + y * stride;
        if (colors)
            colors->convert(row, bgr.cols, out);
        else
            for (int x = 0; x < bgr.cols; ++x) reinterpret_cast<Pixel*>(out)[x] = palette[index(row, x, runs ? 8 : header.bits)];
    }
    return 1;
}

}  // namespace deploy
