// GIF by giflib: the first frame on its screen.
#include <gif_lib.h>

#include <algorithm>
#include <memory>
#include <string>

#include "codecs.h"
#include "errors.h"
#include "pixels.h"

namespace deploy {
namespace {

int close(GifFileType* gif) {
    int code = 0;
    return DGifCloseFile(gif, &code);
}

using Gif = std::unique_ptr<GifFileType, decltype(&close)>;

[[noreturn]] void fail(int code) {
    const char* reason = GifErrorString(code);
    throw damaged(reason ? reason : "giflib cannot read it");
}

int read_bytes(GifFileType* gif, GifByteType* out, int count) {
    auto& rest = *static_cast<Span*>(gif->UserData);
    Span part = rest.first(count);
    std::copy(part.data, part.data + part.size, out);
    rest = rest.from(part.size);
    return int(part.size);
}

/// Up to the first frame, whose place is then in gif.Image; returns the index of the transparent colour, or -1.
int seek_frame(GifFileType& gif) {
    int transparent = NO_TRANSPARENT_COLOR;
    for (GifRecordType record; DGifGetRecordType(&gif, &record) == GIF_OK;) {
        if (record == IMAGE_DESC_RECORD_TYPE) {
            if (DGifGetImageDesc(&gif) != GIF_OK) break;
            return transparent;
        }
        if (record == TERMINATE_RECORD_TYPE) throw damaged("a GIF without a picture");
        if (record != EXTENSION_RECORD_TYPE) continue;
        int code;
        GifByteType* block;  // its length, then its data
        if (DGifGetExtension(&gif, &code, &block) != GIF_OK) break;
        if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4) transparent = block[1] & 1 ? block[4] : transparent;
        while (block)
            if (DGifGetExtensionNext(&gif, &block) != GIF_OK) fail(gif.Error);
    }
    fail(gif.Error);
}

/// The frame's indices, row for row.
std::vector<Byte> read_frame(GifFileType& gif) {
    const auto& place = gif.Image;
    std::vector<Byte> indices(size_t(place.Width) * place.Height);
    auto row = [&](int y) {
        if (DGifGetLine(&gif, indices.data() + size_t(y) * place.Width, place.Width) != GIF_OK) fail(gif.Error);
    };
    const int starts[] = {0, 4, 2, 1}, steps[] = {8, 8, 4, 2};
    if (place.Interlace) {
        for (int pass = 0; pass < 4; ++pass)
            for (int y = starts[pass]; y < place.Height; y += steps[pass]) row(y);
    } else {
        for (int y = 0; y < place.Height; ++y) row(y);
    }
    return indices;
}

/// BGR of each index: greys without a palette, black beyond it, white where it is transparent.
std::vector<Pixel> palette_of(const GifFileType& gif, int transparent) {
    const ColorMapObject* map = gif.Image.ColorMap ? gif.Image.ColorMap : gif.SColorMap;
    std::vector<Pixel> palette;
    for (int i = 0; map && i < map->ColorCount; ++i) palette.push_back({map->Colors[i].Blue, map->Colors[i].Green, map->Colors[i].Red});
    fill_palette(palette);
    if (transparent >= 0) palette[transparent] = {255, 255, 255};
    return palette;
}

}  // namespace

int read_gif(const Bytes& content, size_t max_pixels, Image& bgr) {
    Span rest(content);
    int code = 0;
    Gif gif(DGifOpen(&rest, read_bytes, &code), close);
    if (!gif) fail(code);
    int transparent = seek_frame(*gif);
    const auto& place = gif->Image;
    int width = std::max(int(gif->SWidth), place.Left + place.Width), height = std::max(int(gif->SHeight), place.Top + place.Height);
    check_size(width, height, max_pixels);
    auto palette = palette_of(*gif, transparent);
    auto indices = read_frame(*gif);
    bgr.create(height, width);
    bgr.fill(palette[std::max(transparent, 0)]);
    for (int y = 0; y < place.Height; ++y) {
        const Byte* row = indices.data() + size_t(y) * place.Width;
        for (int x = 0; x < place.Width; ++x) bgr.at(place.Top + y, place.Left + x) = palette[row[x]];
    }
    return 1;
}

}  // namespace deploy
