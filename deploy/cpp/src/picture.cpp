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

int read_pixels(const Bytes& content, size_t max_pixels, size_t at_least, Image& bgr, bool& smaller) {
    switch (format_of(content)) {
        case Format::jpeg: return read_jpeg(content, max_pixels, at_least, bgr, smaller);
        case Format::png: return read_png(content, max_pixels, bgr);
        case Format::webp: return read_webp(content, max_pixels, bgr);
        case Format::bmp: return read_bmp(content, max_pixels, bgr);
        case Format::tiff: return read_tiff(content, max_pixels, bgr);
        case Format::gif: return read_gif(content, max_pixels, bgr);
        case Format::pnm: return read_pnm(content, max_pixels, bgr);
    }
    throw PictureError("not an image");
}

/// Values of type Value -> BGR.
template <typename Value>
void convert(const Frame& frame, Image& bgr) {
    const int channels = frame.channels();
    auto byte = [](Value value) { return sizeof(Value) == 1 ? Byte(value) : eight_bits(value); };
    for (int y = 0; y < frame.rows; ++y) {
        const auto* in = reinterpret_cast<const Value*>(static_cast<const Byte*>(frame.data) + y * frame.step);
        Byte* out = bgr.ptr(y);
        for (int x = 0; x < frame.cols; ++x, in += channels, out += 3)
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

bool decode(const Bytes& content, Image& bgr, size_t max_pixels, size_t at_least) {
    bool smaller = false;
    try {
        turn(bgr, read_pixels(content, max_pixels, at_least, bgr, smaller));
        return smaller;
    } catch (const std::bad_alloc&) {
        throw PictureError("larger than the memory that is free");
    }
}

bool is_readable_type(int type) {
    const Frame frame{0, 0, type, nullptr, 0};
    return type >= 0 && frame.bytes_per_value() > 0 && (frame.channels() == 1 || frame.channels() == 3 || frame.channels() == 4);
}

void to_bgr(const Frame& frame, Image& bgr) {
    bgr.create(frame.rows, frame.cols);
    if (frame.bytes_per_value() == 2)
        convert<uint16_t>(frame, bgr);
    else
        convert<Byte>(frame, bgr);
}

}  // namespace deploy
