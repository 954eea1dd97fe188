#include "picture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "codecs.h"
#include "exif.h"
#include "formats.h"
#include "pixels.h"

namespace deploy {
namespace {

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

int read_pixels(const Bytes& content, size_t max_pixels, size_t at_least, cv::Mat& bgr) {
    switch (format_of(content)) {
        case Format::jpeg: return read_jpeg(content, max_pixels, at_least, bgr);
        case Format::png: return read_png(content, max_pixels, bgr);
        case Format::webp: return read_webp(content, max_pixels, bgr);
        case Format::bmp: return read_bmp(content, max_pixels, bgr);
        case Format::tiff: return read_tiff(content, max_pixels, bgr);
        case Format::gif: return read_gif(content, max_pixels, bgr);
        case Format::pnm: return read_pnm(content, max_pixels, bgr);
    }
    throw PictureError("not an image");
}

/// Values of type Value in `channels` channels -> BGR.
template <typename Value>
void convert(const cv::Mat& pixels, cv::Mat& bgr) {
    const int channels = pixels.channels();
    auto byte = [](Value value) { return sizeof(Value) == 1 ? Byte(value) : eight_bits(value); };
    for (int y = 0; y < pixels.rows; ++y) {
        const auto* in = pixels.ptr<Value>(y);
        Byte* out = bgr.ptr(y);
        for (int x = 0; x < pixels.cols; ++x, in += channels, out += 3)
            for (int c = 0; c < 3; ++c) {
                Byte value = byte(in[channels == 1 ? 0 : c]);
                out[c] = channels == 4 ? over_white(value, byte(in[3])) : value;
            }
    }
}

}  // namespace

void read_file(const std::string& path, Bytes& content) {
    struct stat facts;
    if (stat(path.c_str(), &facts) != 0) File::fail();
    if (!S_ISREG(facts.st_mode)) throw PictureError("not a regular file");  // even opening a device may do something
    File file(path);
    if (fstat(file.descriptor, &facts) != 0) File::fail();
    if (!S_ISREG(facts.st_mode)) throw PictureError("not a regular file");  // a pipe or device could have no end
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

void decode(const Bytes& content, cv::Mat& bgr, size_t max_pixels, size_t at_least) {
    try {
        turn(bgr, read_pixels(content, max_pixels, at_least, bgr));
    } catch (const std::bad_alloc&) {
        throw PictureError("larger than the memory that is free");
    } catch (const cv::Exception& error) {
        throw PictureError(error.code == cv::Error::StsNoMem ? "larger than the memory that is free" : "cannot be decoded: " + error.err);
    }
}

bool is_readable_type(int type) {
    int depth = CV_MAT_DEPTH(type), channels = CV_MAT_CN(type);
    return (depth == CV_8U || depth == CV_16U) && (channels == 1 || channels == 3 || channels == 4);
}

void to_bgr(const cv::Mat& pixels, cv::Mat& bgr) {
    bgr.create(pixels.size(), CV_8UC3);
    if (pixels.depth() == CV_16U)
        convert<uint16_t>(pixels, bgr);
    else
        convert<Byte>(pixels, bgr);
}

}  // namespace deploy
