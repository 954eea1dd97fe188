// TIFF: its strips and tiles by libtiff, their samples by us; the twin of data/pictures/tiff.py.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>

#include "codecs.h"
#include "errors.h"
#include "pixels.h"

// Compressions of libtiff's that are not read here. Named in its stead, they stay out, and with them JBIG-KIT, which is under the GPL.
extern "C" {
int TIFFInitJBIG(TIFF*, int) { return 0; }
int TIFFInitLERC(TIFF*, int) { return 0; }
int TIFFInitWebP(TIFF*, int) { return 0; }
}

namespace deploy {
namespace {

/// The file in memory as libtiff reads it, and the first thing that it has to say about it.
struct Memory {
    Span content;
    uint64_t place = 0;
    std::string error;

    static Memory& of(thandle_t handle) { return *static_cast<Memory*>(handle); }

    static tmsize_t read(thandle_t handle, void* out, tmsize_t count) {
        auto& memory = of(handle);
        Span part = memory.place < memory.content.size ? memory.content.from(memory.place).first(count) : Span();
        if (part.size) std::memcpy(out, part.data, part.size);
        memory.place += part.size;
        return tmsize_t(part.size);
    }
    static tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }
    static toff_t seek(thandle_t handle, toff_t offset, int whence) {
        auto& memory = of(handle);
        return memory.place = offset + (whence == SEEK_CUR ? memory.place : whence == SEEK_END ? memory.content.size : 0);
    }
    static int close(thandle_t) { return 0; }
    static toff_t size(thandle_t handle) { return of(handle).content.size; }

    static int failed(TIFF*, void* memory, const char*, const char* format, va_list values) {
        char text[256];
        std::vsnprintf(text, sizeof text, format, values);
        auto& error = static_cast<Memory*>(memory)->error;
        if (error.empty()) error = text;
        return 1;
    }
    static int warned(TIFF*, void*, const char*, const char*, va_list) { return 1; }
};

using Tiff = std::unique_ptr<TIFF, decltype(&TIFFClose)>;

Tiff open(Memory& memory) {
    std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), Memory::failed, &memory);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), Memory::warned, nullptr);
    // m: nothing is mapped, so that libtiff never takes our memory for its own.
    return Tiff(TIFFClientOpenExt("picture", "rm", &memory, Memory::read, Memory::write, Memory::seek, Memory::close, Memory::size, nullptr,
                                  nullptr, options.get()),
                TIFFClose);
}

struct Header {
    uint32_t width = 0, height = 0;
    uint16_t photometric = 0, samples = 1, bits = 1, compression = 1, orientation = 1, extra = 0;
    bool planar = false;

    bool has_alpha() const {
        return (samples == 2 || samples == 4) && photometric != PHOTOMETRIC_SEPARATED &&
               (extra == EXTRASAMPLE_ASSOCALPHA || extra == EXTRASAMPLE_UNASSALPHA);
    }
};

/// Kinds of pictures that are read.
bool is_understood(const Header& h) {
    auto one_of = [](int value, std::initializer_list<int> list) { return std::find(list.begin(), list.end(), value) != list.end(); };
    switch (h.photometric) {
        case PHOTOMETRIC_MINISWHITE: return h.samples == 1 && one_of(h.bits, {1, 2, 4, 8, 16});
        case PHOTOMETRIC_MINISBLACK: return (h.samples == 1 && one_of(h.bits, {1, 2, 4, 8, 16})) || (h.samples == 2 && h.bits == 8);
        case PHOTOMETRIC_RGB: return one_of(h.samples, {3, 4}) && one_of(h.bits, {8, 16});
        case PHOTOMETRIC_PALETTE: return h.samples == 1 && one_of(h.bits, {1, 2, 4, 8});
        case PHOTOMETRIC_SEPARATED: return h.samples == 4 && h.bits == 8;
        case PHOTOMETRIC_YCBCR: return h.samples == 3 && h.bits == 8;
    }
    return false;
}

bool is_understood(uint16_t compression) {
    for (int known : {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000})  // none, fax, LZW, JPEG, Deflate, PackBits, LZMA, Zstandard
        if (compression == known) return true;
    return false;
}

Header read_header(TIFF* tiff) {
    Header h;
    uint16_t format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG, num_extra = 0, *extra = nullptr;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &h.width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &h.height);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &h.photometric);
    TIFFGetField(tiff, TIFFTAG_SAMPLESPERPIXEL, &h.samples);
    TIFFGetField(tiff, TIFFTAG_BITSPERSAMPLE, &h.bits);
    TIFFGetField(tiff, TIFFTAG_COMPRESSION, &h.compression);
    TIFFGetField(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetField(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetField(tiff, TIFFTAG_ORIENTATION, &h.orientation);
    if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &num_extra, &extra) && num_extra > 0) h.extra = extra[0];
    h.planar = planar == PLANARCONFIG_SEPARATE && h.samples > 1;
    if (h.orientation < 1 || h.orientation > 8) h.orientation = 1;
    if (format != SAMPLEFORMAT_UINT)
        throw PictureError("TIFF of signed or floating point numbers: convert it to one of 8 or 16 bits, or to PNG");
    if (!is_understood(h))
        throw PictureError("TIFF of " + std::to_string(h.samples) + " bands of " + std::to_string(h.bits) + " bits (photometric " +
                           std::to_string(h.photometric) + ") is not understood: convert it to PNG");
    if (!is_understood(h.compression))
        throw PictureError("TIFF with compression " + std::to_string(h.compression) + " is not understood: convert it to PNG");
    return h;
}

/// Samples of one pixel -> BGR.
class Colors {
  public:
    Colors(TIFF* tiff, const Header& h) : header_(h) {
        if (h.photometric != PHOTOMETRIC_PALETTE) return;
        uint16_t *red, *green, *blue;
        if (!TIFFGetField(tiff, TIFFTAG_COLORMAP, &red, &green, &blue)) throw damaged("a palette picture without palette");
        for (int i = 0; i < 1 << h.bits; ++i) palette_.push_back({Byte(blue[i] >> 8), Byte(green[i] >> 8), Byte(red[i] >> 8)});
    }

    /// samples: as many as the header says, each of its bits.
    void convert(const uint16_t* samples, Byte* out) const {
        if (header_.photometric == PHOTOMETRIC_PALETTE) {
            for (int c = 0; c < 3; ++c) out[c] = palette_[samples[0]][c];
            return;
        }
        bool grey = header_.samples < 3, inks = header_.photometric == PHOTOMETRIC_SEPARATED;
        Byte alpha = header_.has_alpha() ? byte(samples[header_.samples - 1]) : 255;
        for (int c = 0; c < 3; ++c) {
            Byte value = byte(samples[grey ? 0 : 2 - c]);
            if (inks)
                value = light(255 - value, 255 - byte(samples[3]));
            else if (header_.has_alpha())
                value = over_white(header_.extra == EXTRASAMPLE_ASSOCALPHA ? divided(value, alpha) : value, alpha);
            out[c] = value;
        }
    }

    /// The usual kind: a row of `count` pixels of 8 bits, RGB.
    static void swap(const Byte* rgb, size_t count, Byte* out) {
        for (size_t x = 0; x < count; ++x, rgb += 3, out += 3) out[0] = rgb[2], out[1] = rgb[1], out[2] = rgb[0];
    }

  private:
    Byte byte(unsigned value) const {
        if (header_.bits == 16) return eight_bits(header_.photometric == PHOTOMETRIC_MINISWHITE ? 65535 - value : value);
        value = value * 255 / ((1u << header_.bits) - 1);
        return Byte(header_.photometric == PHOTOMETRIC_MINISWHITE ? 255 - value : value);
    }

    const Header& header_;
    std::vector<Pixel> palette_;
};

/// A strip or tile of one plane: rows of samples, each packed and filled up to whole bytes.
class Block {
  public:
    Block(size_t row_bytes, size_t rows) : row_bytes_(row_bytes), bytes_(row_bytes * rows) {}

    /// All of its first `rows` rows. `number`: of the strip or tile.
    void read(TIFF* tiff, const Memory& memory, uint32_t number, size_t rows) {
        if (TIFFGetStrileOffset(tiff, number) == 0) throw damaged("fewer rows than its header says");
        auto size = tmsize_t(row_bytes_ * rows);
        auto count = TIFFIsTiled(tiff) ? TIFFReadEncodedTile(tiff, number, bytes_.data(), tmsize_t(bytes_.size()))
                                       : TIFFReadEncodedStrip(tiff, number, bytes_.data(), size);
        if (count < size) throw damaged(memory.error.empty() ? "it ends early" : memory.error);
    }

    const Byte* row(size_t number) const { return bytes_.data() + number * row_bytes_; }

    uint16_t sample(size_t number, size_t place, int bits) const {
        const Byte* bytes = row(number);
        if (bits == 16) {
            uint16_t value;
            std::memcpy(&value, bytes + 2 * place, 2);
            return value;
        }
        size_t bit = place * bits;
        return bytes[bit / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1);
    }

  private:
    size_t row_bytes_;
    Bytes bytes_;
};

void read_samples(TIFF* tiff, const Memory& memory, const Header& h, size_t max_pixels, Image& bgr) {
    uint32_t across = h.width, down = h.height;
    const bool tiled = TIFFIsTiled(tiff), usual = h.photometric == PHOTOMETRIC_RGB && h.samples == 3 && h.bits == 8 && !h.planar;
    if (tiled) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &across);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &down);
    } else {
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &down);
        down = std::min(down, h.height);
    }
    check_size(across, down, max_pixels);
    const size_t together = h.planar ? 1 : h.samples, row_bytes = (size_t(across) * together * h.bits + 7) / 8;
    std::vector<Block> planes(h.planar ? h.samples : 1, Block(row_bytes, down));
    std::vector<uint16_t> samples(h.samples);
    const Colors colors(tiff, h);
    for (uint32_t top = 0; top < h.height; top += down)
        for (uint32_t left = 0; left < h.width; left += across) {
            uint32_t rows = tiled ? down : std::min(down, h.height - top);
            for (uint16_t p = 0; p < planes.size(); ++p) {
                auto number = tiled ? TIFFComputeTile(tiff, left, top, 0, p) : TIFFComputeStrip(tiff, top, p);
                planes[p].read(tiff, memory, number, rows);
            }
            for (uint32_t y = 0; y < std::min(rows, h.height - top); ++y) {
                if (usual) {
                    colors.swap(planes[0].row(y), std::min(across, h.width - left), bgr.ptr(int(top + y), int(left)));
                    continue;
                }
                for (uint32_t x = 0; x < std::min(across, h.width - left); ++x) {
                    for (size_t s = 0; s < samples.size(); ++s)
                        samples[s] = planes[h.planar ? s : 0].sample(y, h.planar ? x : size_t(x) * h.samples + s, h.bits);
                    colors.convert(samples.data(), bgr.ptr(int(top + y), int(left + x)));
                }
            }
        }
}

/// YCbCr that is no JPEG, whose colours lie several pixels apart: libtiff puts them together.
void read_ycbcr(TIFF* tiff, const Memory& memory, const Header& h, Image& bgr) {
    std::vector<uint32_t> pixels(size_t(h.width) * h.height);
    if (!TIFFReadRGBAImageOriented(tiff, h.width, h.height, pixels.data(), h.orientation, 1)) throw damaged(memory.error);
    Byte* out = bgr.data();
    for (uint32_t pixel : pixels) {
        *out++ = Byte(TIFFGetB(pixel));
        *out++ = Byte(TIFFGetG(pixel));
        *out++ = Byte(TIFFGetR(pixel));
    }
}

}  // namespace

int read_tiff(const Bytes& content, size_t max_pixels, Image& bgr) {
    Memory memory{content, 0, {}};
    Tiff tiff = open(memory);
    if (!tiff) throw damaged(memory.error);
    Header h = read_header(tiff.get());
    check_size(h.width, h.height, max_pixels);
    bgr.create(int(h.height), int(h.width));
    if (h.photometric == PHOTOMETRIC_YCBCR && h.compression != COMPRESSION_JPEG) {
        read_ycbcr(tiff.get(), memory, h, bgr);
    } else {
        if (h.photometric == PHOTOMETRIC_YCBCR) {
            TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
            h.photometric = PHOTOMETRIC_RGB;
        }
        read_samples(tiff.get(), memory, h, max_pixels, bgr);
    }
    return h.orientation;
}

}  // namespace deploy
