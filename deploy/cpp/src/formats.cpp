#include "formats.h"

#include <string>

#include "errors.h"

namespace deploy {
namespace {

using namespace std::string_view_literals;

struct Start {
    std::string_view bytes;
    Format format;
};

const Start STARTS[] = {
    {"\xff\xd8\xff"sv, Format::jpeg}, {"\x89PNG\r\n\x1a\n"sv, Format::png}, {"GIF87a"sv, Format::gif},  {"GIF89a"sv, Format::gif},
    {"II*\0"sv, Format::tiff},        {"MM\0*"sv, Format::tiff},            {"II+\0"sv, Format::tiff},  {"MM\0+"sv, Format::tiff},
    {"BM"sv, Format::bmp},
};

struct Other {
    std::string_view bytes, name;
};

/// Files that are often found among pictures.
const Other OTHERS[] = {
    {"\0\0\0\x0cjP  \r\n\x87\n"sv, "JPEG 2000 picture, which only Python reads"},
    {"\xff\x4f\xff\x51"sv, "JPEG 2000 picture, which only Python reads"},
    {"\xff\x0a"sv, "JPEG XL picture, which only Python reads"},
    {"\0\0\0\x0cJXL \r\n\x87\n"sv, "JPEG XL picture, which only Python reads"},
    {"8BPS"sv, "Photoshop file"},
    {"\0\0\1\0"sv, "icon"},
    {"\x76\x2f\x31\x01"sv, "OpenEXR picture"},
    {"%PDF"sv, "PDF document"},
    {"%!PS"sv, "PostScript file"},
    {"<svg"sv, "SVG drawing"},
    {"<?xml"sv, "SVG drawing"},
};

const std::string_view HEIC_BRANDS[] = {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"};

bool is_pnm(Span content) {
    if (content.size < 3 || content.data[0] != 'P' || content.data[1] < '1' || content.data[1] > '6') return false;
    return content.data[2] == ' ' || (content.data[2] >= '\t' && content.data[2] <= '\r');
}

bool is_web_page(Span content) {
    Span head = content.first(64);
    std::string text(head.data, head.data + head.size);
    text.erase(0, text.find_first_not_of(" \t\n\r\v\f"));
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
    return text.rfind("<!doctype html", 0) == 0 || text.rfind("<html", 0) == 0;
}

/// ISO base media files: photographs of new phones (HEIC, AVIF), films.
PictureError in_boxes(Span brand) {
    std::string others(brand.from(8).data, brand.from(8).data + brand.from(8).first(48).size);  // that the file is compatible with
    bool still = (brand.starts_with("mif1") || brand.starts_with("msf1")) && others.find("avif") != std::string::npos;
    if (brand.starts_with("avif") || brand.starts_with("avis") || still)
        return PictureError("AVIF picture, which only Python reads: convert it to JPEG or PNG");
    for (auto name : HEIC_BRANDS)
        if (brand.starts_with(name)) return PictureError("HEIC photograph, which only Python reads: convert it to JPEG or PNG");
    return PictureError("film or raw photograph (MP4 and its relatives): convert it to JPEG");
}

}  // namespace

Format format_of(Span content) {
    if (content.size == 0) throw PictureError("empty file (0 bytes)");
    for (const auto& start : STARTS)
        if (content.starts_with(start.bytes)) return start.format;
    if (content.starts_with("RIFF") && content.from(8).starts_with("WEBP")) return Format::webp;
    if (is_pnm(content)) return Format::pnm;
    if (content.from(4).starts_with("ftyp")) throw in_boxes(content.from(8));
    for (const auto& other : OTHERS)
        if (content.starts_with(other.bytes)) throw PictureError(std::string(other.name) + ": convert it to JPEG or PNG");
    if (is_web_page(content)) throw PictureError("web page (HTML), perhaps of a failed download: fetch the picture again");
    throw PictureError("not an image (JPEG, PNG, WebP, BMP, TIFF, GIF and PNM are read)");
}

}  // namespace deploy
