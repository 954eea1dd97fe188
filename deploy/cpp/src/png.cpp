// PNG by libpng, which sees only the chunks that make pixels; the twin of data/pictures/png.py.
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <string>

#include "codecs.h"
#include "errors.h"
#include "exif.h"
#include "pixels.h"

namespace deploy {
namespace {

using namespace std::string_view_literals;

const size_t SIGNATURE = 8;

struct Chunks {
    Bytes file;  // signature and the chunks that make pixels
    Bytes exif;
    Bytes key;  // of tRNS where it names one colour that is transparent
    size_t width = 0, height = 0;
    int bits = 0, color_type = 0;
    bool interlaced = false;

    /// Of memory, while it is decoded: interlaced rows come several times, and Python keeps values of 16 bits.
    size_t bytes_per_pixel() const {
        const size_t channels = color_type == PNG_COLOR_TYPE_GRAY ? 1 : color_type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2 : color_type == PNG_COLOR_TYPE_RGB ? 3 : 4;
        if (bits == 16) return 3 + 2 * channels;
        return interlaced ? 3 + channels : 3;
    }
    bool has_key() const { return color_type == PNG_COLOR_TYPE_GRAY || color_type == PNG_COLOR_TYPE_RGB; }
};

void append(Bytes& bytes, Span more) { bytes.insert(bytes.end(), more.data, more.data + more.size); }

bool is_letter(int c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

bool makes_pixels(Span name) {
    for (auto needed : {"IHDR", "PLTE", "tRNS", "IDAT", "IEND"})
        if (name.starts_with(needed)) return true;
    return false;
}

void read_header(Span data, Chunks& chunks) {
    if (data.size != 13 || chunks.width) throw damaged("a PNG without its header");
    chunks.width = data.big(0, 4);
    chunks.height = data.big(4, 4);
    chunks.bits = data.data[8];
    chunks.color_type = data.data[9];
    chunks.interlaced = data.data[12] == PNG_INTERLACE_ADAM7;
}

/// A chunk is its length, name, data and checksum.
Chunks read_chunks(Span content) {
    Chunks chunks;
    append(chunks.file, content.first(SIGNATURE));
    for (size_t place = SIGNATURE;;) {
        size_t length = content.big(place, 4);
        if (place + 12 + length > content.size) throw damaged("a PNG without its end");
        Span chunk = content.from(place).first(12 + length), name = chunk.from(4).first(4), data = chunk.from(8).first(length);
        place += 12 + length;
        if (!std::all_of(name.data, name.data + 4, is_letter)) throw damaged("something else than a chunk");
        if (name.starts_with("eXIf")) append(chunks.exif, data);
        if (!makes_pixels(name)) {
            if (name.data[0] >= 'A' && name.data[0] <= 'Z') throw damaged("unknown chunk " + std::string(name.data, name.data + 4));
            continue;
        }
        if (crc32(0, name.data, uInt(4 + length)) != chunk.big(8 + length, 4))
            throw damaged("wrong checksum of the chunk " + std::string(name.data, name.data + 4));
        if (name.starts_with("IHDR")) read_header(data, chunks);
        if (name.starts_with("tRNS") && chunks.has_key())
            append(chunks.key, data);
        else
            append(chunks.file, chunk);
        if (name.starts_with("IEND")) break;
    }
    if (!chunks.width) throw damaged("a PNG without its header");
    return chunks;
}

/// libpng's only way out of an error is a jump. No object with a destructor may lie between the jump and `read`.
class Decoder {
  public:
    explicit Decoder(const Bytes& file) : rest_(file) {
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, failed, [](png_structp, png_const_charp) {});
        info_ = png_ ? png_create_info_struct(png_) : nullptr;
        if (!info_) {
            png_destroy_read_struct(&png_, nullptr, nullptr);
            throw std::bad_alloc();
        }
        png_set_read_fn(png_, this, [](png_structp png, png_bytep out, size_t count) {
            auto& rest = static_cast<Decoder*>(png_get_io_ptr(png))->rest_;
            if (count > rest.size) png_error(png, "truncated");
            std::memcpy(out, rest.data, count);
            rest = rest.from(count);
        });
    }
    ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    bool read_header() {
        if (setjmp(escape_)) return false;
        png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
        png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);  // they were checked
        png_read_info(png_, info_);
        if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) {
            png_set_palette_to_rgb(png_);
            if (png_get_valid(png_, info_, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(png_);
        } else if (png_get_bit_depth(png_, info_) < 8) {
            png_set_expand_gray_1_2_4_to_8(png_);
        }
        if (png_get_bit_depth(png_, info_) == 16) png_set_swap(png_);
        png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        return true;
    }

    int channels() const { return png_get_channels(png_, info_); }
    bool is_deep() const { return png_get_bit_depth(png_, info_) == 16; }

    bool is_interlaced() const { return png_get_interlace_type(png_, info_) != PNG_INTERLACE_NONE; }
    size_t row_bytes() const { return png_get_rowbytes(png_, info_); }

    /// All rows of an interlaced picture, which come several times. `rows`: where each of them goes.
    bool read_rows(png_bytepp rows) {
        if (setjmp(escape_)) return false;
        png_read_image(png_, rows);
        return true;
    }

    /// The next row of another picture.
    bool read_row(png_bytep row) {
        if (setjmp(escape_)) return false;
        png_read_row(png_, row, nullptr);
        return true;
    }

    std::string error() const { return error_; }

  private:
    static void failed(png_structp png, png_const_charp message) {
        auto* decoder = static_cast<Decoder*>(png_get_error_ptr(png));
        std::strncpy(decoder->error_, message, sizeof decoder->error_ - 1);
        std::longjmp(decoder->escape_, 1);
    }

    png_structp png_;
    png_infop info_;
    Span rest_;
    std::jmp_buf escape_;
    char error_[128] = "";
};

/// Values of 8 or 16 bits, grey or RGB with or without alpha -> BGR.
template <typename Value>
class Converter {
  public:
    Converter(const Chunks& chunks, int channels) : channels_(channels), colors_(channels < 3 ? 1 : 3) {
        if (!chunks.has_key() || chunks.key.size() != 2 * size_t(colors_)) return;
        has_key_ = true;
        for (int c = 0; c < colors_; ++c) {
            unsigned value = Span(chunks.key).big(2 * c, 2);
            key_[c] = chunks.bits < 8 ? value * 255 / ((1u << chunks.bits) - 1) : value;
        }
    }

    void operator()(const Value* in, Byte* out) const {
        bool has_alpha = channels_ % 2 == 0;
        Byte alpha = has_alpha ? byte(in[channels_ - 1]) : 255;
        for (int c = 0; c < 3; ++c) {
            Byte value = byte(in[colors_ == 1 ? 0 : 2 - c]);
            out[c] = is_key(in) ? 255 : has_alpha ? over_white(value, alpha) : value;
        }
    }

  private:
    static Byte byte(Value value) { return sizeof(Value) == 1 ? Byte(value) : eight_bits(value); }

    bool is_key(const Value* in) const {
        if (!has_key_) return false;
        for (int c = 0; c < colors_; ++c)
            if (in[c] != key_[c]) return false;
        return true;
    }

    int channels_, colors_;
    bool has_key_ = false;
    unsigned key_[3]{};
};

/// `row(y)`: the values of row `y`, asked for from top to bottom.
template <typename Value, typename Row>
void convert(Converter<Value> pixel, int channels, Row row, Image& bgr) {
    for (int y = 0; y < bgr.rows; ++y) {
        const auto* in = reinterpret_cast<const Value*>(row(y));
        Byte* out = bgr.ptr(y);
        for (int x = 0; x < bgr.cols; ++x, in += channels, out += 3) pixel(in, out);
    }
}

}  // namespace

int read_png(const Bytes& content, size_t max_pixels, Image& bgr) {
    Chunks chunks = read_chunks(content);
    check_size(chunks.width, chunks.height, max_pixels, chunks.bytes_per_pixel());
    Decoder decoder(chunks.file);
    if (!decoder.read_header()) throw damaged(decoder.error());
    const size_t row_bytes = decoder.row_bytes();
    Bytes values(decoder.is_interlaced() ? row_bytes * chunks.height : row_bytes);
    if (decoder.is_interlaced()) {
        std::vector<png_bytep> rows;
        for (size_t y = 0; y < chunks.height; ++y) rows.push_back(values.data() + y * row_bytes);
        if (!decoder.read_rows(rows.data())) throw damaged(decoder.error());
    }
    auto row = [&](int y) -> const Byte* {
        if (decoder.is_interlaced()) return values.data() + y * row_bytes;
        if (!decoder.read_row(values.data())) throw damaged(decoder.error());
        return values.data();
    };
    bgr.create(int(chunks.height), int(chunks.width));
    if (decoder.is_deep())
        convert(Converter<uint16_t>(chunks, decoder.channels()), decoder.channels(), row, bgr);
    else
        convert(Converter<Byte>(chunks, decoder.channels()), decoder.channels(), row, bgr);
    return exif_orientation(chunks.exif);
}

}  // namespace deploy
