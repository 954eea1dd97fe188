#include "picture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "exif.h"
#include "jpeg.h"

namespace deploy {
namespace {

enum class Format { jpeg, png, bmp, webp, tiff };

bool has(const Bytes& content, size_t offset, const char* text, size_t length) {
    return content.size() >= offset + length && std::memcmp(content.data() + offset, text, length) == 0;
}

/// OpenCV would try a dozen formats more; what strangers send should meet no more decoders than needed.
Format format_of(const Bytes& content) {
    if (content.empty()) throw PictureError("empty file (0 bytes)");
    if (has(content, 0, "\xff\xd8\xff", 3)) return Format::jpeg;
    if (has(content, 0, "\x89PNG\r\n\x1a\n", 8)) return Format::png;
    if (has(content, 0, "BM", 2)) return Format::bmp;
    if (has(content, 0, "RIFF", 4) && has(content, 8, "WEBP", 4)) return Format::webp;
    if (has(content, 0, "II*\0", 4) || has(content, 0, "MM\0*", 4)) return Format::tiff;
    throw PictureError("not an image (JPEG, PNG, BMP, WebP and TIFF are read)");
}

/// libjpeg fills up a truncated JPEG without a word; the missing end marker gives it away.
bool ends_as_jpeg(const Bytes& content) {
    const unsigned char marker[] = {0xff, 0xd9};
    auto tail = content.end() - std::min<size_t>(content.size(), 4096);
    return std::search(tail, content.end(), marker, marker + 2) != content.end();
}

/// Into new memory: OpenCV can decode into that of the last picture, but then returns the last picture for some damaged files.
cv::Mat imdecode(const Bytes& content, int flags) {
    try {
        cv::Mat pixels = cv::imdecode(content, flags);
        if (!pixels.empty()) return pixels;
    } catch (const cv::Exception& error) {
        throw PictureError("truncated or damaged (" + error.err + ")");
    }
    throw PictureError("truncated or damaged");
}

void over_white(const cv::Mat& bgra, cv::Mat& bgr) {
    bgr.create(bgra.size(), CV_8UC3);
    for (int y = 0; y < bgra.rows; ++y) {
        const auto* in = bgra.ptr<cv::Vec4b>(y);
        auto* out = bgr.ptr<cv::Vec3b>(y);
        for (int x = 0; x < bgra.cols; ++x)
            for (int c = 0; c < 3; ++c) out[x][c] = (in[x][c] * in[x][3] + 255 * (255 - in[x][3]) + 127) / 255;
    }
}

class File {
  public:
    explicit File(const std::string& path) : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        if (descriptor < 0) fail();
    }
    ~File() { close(descriptor); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    [[noreturn]] static void fail() { throw PictureError(std::string("cannot be opened (") + std::strerror(errno) + ")"); }
    const int descriptor;
};

}  // namespace

void read_file(const std::string& path, Bytes& content) {
    File file(path);
    struct stat facts;
    if (fstat(file.descriptor, &facts) != 0) File::fail();
    if (!S_ISREG(facts.st_mode)) throw PictureError("not a file");  // a pipe or device could have no end
    content.resize(facts.st_size);
    size_t filled = 0;
    while (filled < content.size()) {
        ssize_t count = read(file.descriptor, content.data() + filled, content.size() - filled);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) File::fail();
        if (count == 0) break;  // it became shorter meanwhile
        filled += count;
    }
    content.resize(filled);
}

void decode(const Bytes& content, cv::Mat& bgr) {
    Format format = format_of(content);
    if (format == Format::jpeg) {
        if (!ends_as_jpeg(content)) throw PictureError("truncated or damaged (a JPEG without end-of-image marker)");
        if (!decode_jpeg(content, bgr)) bgr = imdecode(content, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    } else {
        cv::Mat pixels = imdecode(content, cv::IMREAD_UNCHANGED);  // with alpha channel and 16 bits
        if (!is_readable_type(pixels.type())) throw PictureError("pixels of a kind that is not understood, only 8 and 16 bits are");
        to_bgr(pixels, bgr);
    }
    turn(bgr, exif_orientation(content));
}

bool is_readable_type(int type) {
    int depth = CV_MAT_DEPTH(type), channels = CV_MAT_CN(type);
    return (depth == CV_8U || depth == CV_16U) && (channels == 1 || channels == 3 || channels == 4);
}

void to_bgr(const cv::Mat& pixels, cv::Mat& bgr) {
    cv::Mat bytes = pixels;
    if (pixels.depth() == CV_16U) pixels.convertTo(bytes, CV_8U, 1.0 / 257);
    if (bytes.channels() == 1)
        cv::cvtColor(bytes, bgr, cv::COLOR_GRAY2BGR);
    else if (bytes.channels() == 4)
        over_white(bytes, bgr);
    else
        bgr = bytes;
}

}  // namespace deploy
