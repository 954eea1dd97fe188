// PBM, PGM and PPM, plain and raw. There is no library for them that leaves errors to its caller.
#include <cmath>
#include <string>

#include "codecs.h"
#include "errors.h"
#include "pixels.h"

namespace deploy {
namespace {

bool is_blank(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Reader {
  public:
    explicit Reader(Span file) : rest_(file) {}

    /// The next byte, -1 at the end.
    int byte() {
        if (rest_.size == 0) return -1;
        int value = *rest_.data;
        rest_ = rest_.from(1);
        return value;
    }

    /// The next byte that is not part of a comment.
    int character() {
        int c = byte();
        while (c == '#') {
            do c = byte();
            while (c != '\n' && c != '\r' && c != -1);
            c = byte();
        }
        return c;
    }

    /// The next number, and one blank behind it.
    unsigned number() {
        int c = character();
        while (is_blank(c)) c = character();
        if (c == -1) throw damaged("it ends early");
        unsigned value = 0;
        for (int digits = 0; c != -1 && !is_blank(c); c = character()) {
            if (c < '0' || c > '9' || ++digits > 9) throw damaged("something else than a number");
            value = 10 * value + (c - '0');
        }
        return value;
    }

    Span rest() const { return rest_; }

  private:
    Span rest_;
};

/// 0 and 1, white and black, with or without blanks between them.
void read_plain_bits(Reader& reader, Image& bgr) {
    const size_t count = bgr.size() / 3;
    Pixel* pixels = &bgr.at(0, 0);
    size_t taken = 0;
    for (int c; (c = reader.character()) != -1;) {
        if (is_blank(c)) continue;
        if (c != '0' && c != '1') throw damaged("something else than 0 and 1");
        if (taken < count) pixels[taken++] = grey_pixel(c == '0' ? 255 : 0);
    }
    if (taken < count) throw damaged("it ends early");
}

void read_raw_bits(Span data, Image& bgr) {
    size_t stride = (size_t(bgr.cols) + 7) / 8;
    if (data.size < stride * bgr.rows) throw damaged("it ends early");
    for (int y = 0; y < bgr.rows; ++y)
        for (int x = 0; x < bgr.cols; ++x)
            bgr.at(y, x) = grey_pixel(data.data[y * stride + x / 8] >> (7 - x % 8) & 1 ? 0 : 255);
}

/// Values up to `maximum` -> 8 bits, grey ones of more than 8 bits by way of 16, as in Python.
class Scale {
  public:
    Scale(unsigned maximum, bool grey) : maximum_(maximum), by_way_of_16_(grey && maximum > 255) {}

    Byte operator()(unsigned value) const {
        if (by_way_of_16_) return eight_bits(std::min(65535u, spread(value, 65535)));
        return Byte(std::min(255u, spread(value, 255)));
    }

  private:
    unsigned spread(unsigned value, unsigned limit) const { return unsigned(std::nearbyint(double(value) / maximum_ * limit)); }

    unsigned maximum_;
    bool by_way_of_16_;
};

template <typename Next>
void fill(Image& bgr, bool grey, Next next) {
    auto* out = &bgr.at(0, 0);
    for (size_t i = 0; i < bgr.size() / 3; ++i) {
        if (grey)
            out[i] = grey_pixel(next());
        else
            for (int c = 2; c >= 0; --c) out[i][c] = next();
    }
}

void read_plain_values(Reader& reader, unsigned maximum, bool grey, Image& bgr) {
    Scale scale(maximum, grey);
    fill(bgr, grey, [&] {
        unsigned value = reader.number();
        if (value > maximum) throw damaged("a value above the maximum of its header");
        return scale(value);
    });
}

void read_raw_values(Span data, unsigned maximum, bool grey, Image& bgr) {
    const size_t size = maximum > 255 ? 2 : 1;
    if (data.size < bgr.size() / (grey ? 3 : 1) * size) throw damaged("it ends early");
    Scale scale(maximum, grey);
    size_t place = 0;
    fill(bgr, grey, [&] {
        unsigned value = data.big(place, size);
        place += size;
        return scale(value);
    });
}

}  // namespace

int read_pnm(const Bytes& content, size_t max_pixels, Image& bgr) {
    int kind = content[1] - '0';
    Reader reader(Span(content).from(3));
    size_t width = reader.number(), height = reader.number();
    check_size(width, height, max_pixels);
    bool bits = kind == 1 || kind == 4, grey = kind == 2 || kind == 5;
    unsigned maximum = bits ? 1 : reader.number();
    if (maximum < 1 || maximum > 65535) throw damaged("a maximum that is not from 1 to 65535");
    bgr.create(int(height), int(width));
    switch (kind) {
        case 1: read_plain_bits(reader, bgr); break;
        case 4: read_raw_bits(reader.rest(), bgr); break;
        case 2: case 3: read_plain_values(reader, maximum, grey, bgr); break;
        default: read_raw_values(reader.rest(), maximum, grey, bgr);
    }
    return 1;
}

}  // namespace deploy
