// JPEG by libjpeg-turbo, whose warnings count; the twin of data/pictures/jpeg.py.
#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it first
#include <iterator>
#include <map>
#include <string>

#include <jpeglib.h>

#include <jerror.h>

#include "codecs.h"
#include "errors.h"
#include "exif.h"
#include "pixels.h"

namespace deploy {
namespace {

using namespace std::string_view_literals;

const int MAX_SCANS = 500;  // of a progressive picture: more are made to keep a decoder busy

/// What stands before the pixels.
struct Header {
    int process = 0;  // the marker of the frame: 0xc0 baseline, 0xc2 progressive, ...
    size_t height = 0, width = 0, components = 0;
    std::vector<unsigned> sampling;  // of each component: 16 times horizontally + vertically
    Span exif;
    size_t scan = 0;  // where the first start-of-scan marker lies

    bool is_progressive() const { return process == 0xc2 || process == 0xca; }
};

void read_frame(int marker, Span segment, Header& header) {
    if (segment.size < 6) throw damaged("cut within its header");
    if (marker != 0xc0 && marker != 0xc1 && marker != 0xc2 && marker != 0xc9 && marker != 0xca) {
        const char* kind = marker == 0xc3 || marker == 0xcb ? "lossless" : marker == 0xf7 ? "lossless (JPEG-LS)" : "hierarchical";
        throw PictureError(std::string(kind) + " JPEG: convert it to a usual JPEG or PNG");
    }
    if (segment.data[0] != 8)
        throw PictureError("JPEG of " + std::to_string(segment.data[0]) + " bits a value: convert it to one of 8 bits, or to PNG");
    header.process = marker;
    header.height = segment.big(1, 2);
    header.width = segment.big(3, 2);
    header.components = segment.data[5];
    header.sampling.clear();
    for (size_t i = 0; i < header.components; ++i) header.sampling.push_back(segment.big(7 + 3 * i, 1));
    if (segment.size < 6 + 3 * header.components) throw damaged("cut within its header");
}

bool is_frame(int marker) {
    return (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) || marker == 0xf7;
}

/// Segments are marker, length, data; the length counts itself.
Header read_header(Span file) {
    Header header;
    for (size_t place = 2;;) {
        if (place >= file.size) throw damaged("no start of scan");
        if (file.data[place] != 0xff) throw damaged("bytes between its segments");
        int marker = place + 1 < file.size ? file.data[place + 1] : 0xff;
        if (marker == 0xff) {  // a fill byte, or the end
            ++place;
            continue;
        }
        if (marker == 0xda && header.process) {
            header.scan = place;
            return header;
        }
        size_t length = file.big(place + 2, 2);
        if (length < 2 || place + 2 + length > file.size) throw damaged("cut within its header");
        Span segment = file.from(place + 4).first(length - 2);
        if (is_frame(marker))
            read_frame(marker, segment, header);
        else if (marker == 0xe1 && header.exif.size == 0 && segment.starts_with("Exif\0\0"sv))
            header.exif = segment;
        else if (marker == 0xd9 || marker == 0xda)
            throw damaged("no frame before its scan");
        place += 2 + length;
    }
}

/// Where the next start-of-scan marker lies, behind coded data and tables; 0 at the end.
size_t next_scan(Span file, size_t place) {
    while (place + 1 < file.size) {
        auto* found = static_cast<const unsigned char*>(std::memchr(file.data + place, 0xff, file.size - 1 - place));
        if (!found) return 0;
        place = found - file.data;
        int marker = file.data[place + 1];
        if (marker == 0 || marker == 0xff || (marker >= 0xd0 && marker <= 0xd7)) {  // in coded data: stuffed, filled, a restart
            ++place;
        } else if (marker == 0xda) {
            return place;
        } else if (marker == 0xd9) {
            return 0;
        } else {
            place += 2 + file.big(place + 2, 2);
        }
    }
    return 0;
}

/// The lowest bit that came of each coefficient, -1: none yet.
struct Bits {
    int lowest[64];
    Bits() { std::fill_n(lowest, 64, -1); }
    bool complete() const { return std::all_of(lowest, lowest + 64, [](int bit) { return bit == 0; }); }
};

/// A progressive picture is complete when its scans brought all bits of all 64 coefficients of each component.
void check_scans(Span file, const Header& header) {
    std::map<int, Bits> bits;  // of each component
    int count = 0;
    for (size_t place = header.scan; place; ++count) {
        if (count == MAX_SCANS) throw PictureError("progressive JPEG of more than 500 scans");
        size_t components = file.big(place + 4, 1), spectrum = place + 5 + 2 * components;
        if (spectrum + 3 > file.size) throw damaged("cut within its header");
        for (size_t i = 0; i < components; ++i) {
            int* lowest = bits[file.data[place + 5 + 2 * i]].lowest;
            int last = std::min<int>(file.data[spectrum + 1], 63), bit = file.data[spectrum + 2] & 15;
            for (int k = file.data[spectrum]; k <= last; ++k) lowest[k] = bit;
        }
        place = next_scan(file, place + 2 + file.big(place + 2, 2));
    }
    bool complete = std::all_of(bits.begin(), bits.end(), [](const auto& item) { return item.second.complete(); });
    if (bits.size() < header.components || !complete) throw damaged("a progressive JPEG without its last scans");
}

size_t scaled(size_t side, unsigned k) { return (side * k + 7) / 8; }

/// The k, 1..8, of the least scale k/8 that leaves both sides `at_least` pixels; 8 for rare sampling, as in Python.
unsigned eighths(const Header& header, size_t at_least) {
    const unsigned usual[] = {0x11, 0x21, 0x12, 0x22, 0x41, 0x14};
    const auto& sampling = header.sampling;
    bool is_usual = sampling.size() == 1 || (sampling.size() >= 3 && sampling[1] == 0x11 && sampling[2] == 0x11 &&
                                             std::find(std::begin(usual), std::end(usual), sampling[0]) != std::end(usual));
    unsigned k = is_usual ? 1 : 8;
    while (k < 8 && scaled(std::min(header.width, header.height), k) < at_least) ++k;
    return k;
}

/// How many zeros lie before the end marker (which coded data cannot hold).
size_t zeros_before_end(Span file, const Header& header) {
    const unsigned char marker[] = {0xff, 0xd9};
    auto *start = file.data + header.scan, *end = std::search(start, file.data + file.size, marker, marker + 2), *place = end;
    while (place > start && place[-1] == 0) --place;
    return end - place;
}

/// Adobe's way, the only one in use: ink is stored inverted.
void cmyk_to_bgr(const Byte* cmyk, int count, Byte* bgr) {
    for (int x = 0; x < count; ++x, cmyk += 4, bgr += 3)
        for (int c = 0; c < 3; ++c) bgr[c] = light(cmyk[2 - c], cmyk[3]);
}

/// libjpeg's only way out of an error is a jump. No object with a destructor may lie between the jump and `read`.
class Decoder {
  public:
    Decoder() {
        state_.err = jpeg_std_error(&errors_);
        errors_.error_exit = [](j_common_ptr state) { std::longjmp(static_cast<Decoder*>(state->client_data)->escape_, 1); };
        errors_.emit_message = [](j_common_ptr state, int level) {
            if (level < 0) static_cast<Decoder*>(state->client_data)->warned();
        };
        jpeg_create_decompress(&state_);
        state_.client_data = this;
    }
    ~Decoder() { jpeg_destroy_decompress(&state_); }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    bool read_header(const Bytes& content) {
        if (setjmp(escape_)) return false;
        jpeg_mem_src(&state_, content.data(), content.size());
        return jpeg_read_header(&state_, TRUE) == JPEG_HEADER_OK;
    }

    /// All rows at the scale `k` / 8 into `bgr`, those of CMYK by way of `cmyk` (else empty), and what is left up to the end marker.
    bool read_pixels(unsigned k, Image& bgr, Bytes& cmyk) {
        if (setjmp(escape_)) return false;
        state_.scale_num = k;
        state_.scale_denom = 8;
        state_.out_color_space = cmyk.empty() ? JCS_EXT_BGR : JCS_CMYK;
        jpeg_start_decompress(&state_);
        while (state_.output_scanline < state_.output_height) {
            Byte* out = bgr.ptr(int(state_.output_scanline));
            JSAMPROW row = cmyk.empty() ? out : cmyk.data();
            jpeg_read_scanlines(&state_, &row, 1);
            if (!cmyk.empty()) cmyk_to_bgr(cmyk.data(), bgr.cols, out);
        }
        jpeg_finish_decompress(&state_);
        return true;
    }

    /// Bytes between the last coded data and the end marker, which some cameras write.
    size_t padding() const { return padding_; }

    std::string error() {
        char text[JMSG_LENGTH_MAX];
        errors_.format_message(reinterpret_cast<j_common_ptr>(&state_), text);
        return text;
    }

  private:
    void warned() {
        if (errors_.msg_code == JWRN_EXTRANEOUS_DATA && errors_.msg_parm.i[1] == 0xd9)
            padding_ = errors_.msg_parm.i[0];
        else if (errors_.msg_code != JWRN_NOT_SEQUENTIAL)  // nonsense of some cameras, without meaning in these files
            std::longjmp(escape_, 1);
    }

    jpeg_decompress_struct state_{};
    jpeg_error_mgr errors_{};
    std::jmp_buf escape_;
    size_t padding_ = 0;
};

}  // namespace

int read_jpeg(const Bytes& content, size_t max_pixels, size_t at_least, Image& bgr, bool& smaller) {
    Header header = read_header(content);
    check_size(header.width, header.height, max_pixels, header.is_progressive() ? 3 + 2 * header.components : 3);  // with its coefficients
    if (header.is_progressive()) check_scans(content, header);
    if (header.components == 4 && header.sampling[3] != header.sampling[0]) throw damaged("rare sampling of CMYK");  // as Python's decoder
    Decoder decoder;
    if (!decoder.read_header(content)) throw damaged(decoder.error());
    unsigned k = eighths(header, at_least);
    smaller = k < 8;
    bgr.create(int(scaled(header.height, k)), int(scaled(header.width, k)));
    Bytes cmyk(header.components == 4 ? 4 * size_t(bgr.cols) : 0);
    if (!decoder.read_pixels(k, bgr, cmyk)) throw damaged(decoder.error());
    size_t padding = decoder.padding();
    if (padding > 0 && zeros_before_end(content, header) > padding + 16) throw damaged("zeros instead of its data");
    return exif_orientation(header.exif);
}

}  // namespace deploy
