// WebP by libwebp; the twin of data/pictures/webp.py.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "codecs.h"
#include "errors.h"
#include "exif.h"
#include "pixels.h"

namespace deploy {
namespace {

struct Size {
    int width, height;
};

/// From the first chunk.
Size read_size(Span file) {
    Span kind = file.from(12), data = file.from(20).first(10);
    auto masked = [](uint32_t bits) { return int(bits & 0x3fff); };
    if (kind.starts_with("VP8X") && data.size == 10) return {int(data.little(4, 3)) + 1, int(data.little(7, 3)) + 1};
    if (kind.starts_with("VP8L") && data.size >= 5) return {masked(data.little(1, 4)) + 1, masked(data.little(1, 4) >> 14) + 1};
    if (kind.starts_with("VP8 ") && data.size == 10) return {masked(data.little(6, 2)), masked(data.little(8, 2))};
    throw damaged("a WebP without its header");
}

/// The data of the EXIF chunk (chunk: name, length, data, padding to an even length), empty if there is none.
Span exif(Span file) {
    for (Span chunk = file.from(12); chunk.size >= 8;) {
        size_t length = chunk.little(4, 4);
        if (chunk.starts_with("EXIF")) return chunk.from(8).first(length);
        chunk = chunk.from(8 + length + length % 2);
    }
    return {};
}

}  // namespace

int read_webp(const Bytes& content, size_t max_pixels, Image& bgr) {
    Size size = read_size(content);
    check_size(size.width, size.height, max_pixels);
    WebPAnimDecoderOptions options;
    WebPAnimDecoderOptionsInit(&options);
    options.color_mode = MODE_BGRA;
    const WebPData data{content.data(), content.size()};
    std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
    WebPAnimInfo info;
    uint8_t* pixels;
    int time;
    if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) || !WebPAnimDecoderGetNext(decoder.get(), &pixels, &time))
        throw damaged("libwebp cannot read it");
    bool has_alpha = WebPDemuxGetI(WebPAnimDecoderGetDemuxer(decoder.get()), WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG;
    bgr.create(int(info.canvas_height), int(info.canvas_width));
    Byte *out = bgr.data(), *end = out + bgr.size();
    for (const Byte* in = pixels; out < end; in += 4, out += 3)
        for (int c = 0; c < 3; ++c) out[c] = has_alpha ? over_white(in[c], in[3]) : in[c];
    return exif_orientation(exif(content));
}

}  // namespace deploy
