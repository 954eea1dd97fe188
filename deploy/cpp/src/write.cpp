#include "write.h"

#include <png.h>

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it first
#include <cstdlib>
#include <stdexcept>

#include <jpeglib.h>

namespace deploy {
namespace {

/// libjpeg's only way out of an error is a jump. No object with a destructor may lie between the jump and `write`.
class JpegEncoder {
  public:
    JpegEncoder() {
        state_.err = jpeg_std_error(&errors_);
        errors_.error_exit = [](j_common_ptr state) { std::longjmp(static_cast<JpegEncoder*>(state->client_data)->escape_, 1); };
        jpeg_create_compress(&state_);
        state_.client_data = this;
    }
    ~JpegEncoder() {
        jpeg_destroy_compress(&state_);
        std::free(memory_);
    }
    JpegEncoder(const JpegEncoder&) = delete;
    JpegEncoder& operator=(const JpegEncoder&) = delete;

    bool write(const Image& bgr) {
        if (setjmp(escape_)) return false;
        jpeg_mem_dest(&state_, &memory_, &size_);
        state_.image_width = bgr.cols;
        state_.image_height = bgr.rows;
        state_.input_components = 3;
        state_.in_color_space = JCS_EXT_BGR;
        jpeg_set_defaults(&state_);
        jpeg_set_quality(&state_, 95, TRUE);
        jpeg_start_compress(&state_, TRUE);
        while (state_.next_scanline < state_.image_height) {
            JSAMPROW row = const_cast<JSAMPROW>(bgr.ptr(int(state_.next_scanline)));
            jpeg_write_scanlines(&state_, &row, 1);
        }
        jpeg_finish_compress(&state_);
        return true;
    }

    Bytes content() const { return Bytes(memory_, memory_ + size_); }

  private:
    jpeg_compress_struct state_{};
    jpeg_error_mgr errors_{};
    std::jmp_buf escape_;
    unsigned char* memory_ = nullptr;
    unsigned long size_ = 0;
};

Bytes encode_jpeg(const Image& bgr) {
    JpegEncoder encoder;
    if (!encoder.write(bgr)) throw std::runtime_error("libjpeg cannot write it");
    return encoder.content();
}

Bytes encode_png(const Image& bgr) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = bgr.cols;
    image.height = bgr.rows;
    image.format = PNG_FORMAT_BGR;
    Bytes content(PNG_IMAGE_PNG_SIZE_MAX(image));
    png_alloc_size_t size = content.size();
    if (!png_image_write_to_memory(&image, content.data(), &size, 0, bgr.data(), 0, nullptr))
        throw std::runtime_error(image.message);
    content.resize(size);
    return content;
}

}  // namespace

Bytes encode(const std::string& suffix, const Image& bgr) {
    std::string lower = suffix;
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
    if (lower == ".jpg" || lower == ".jpeg") return encode_jpeg(bgr);
    if (lower == ".png") return encode_png(bgr);
    throw std::runtime_error("a name that ends in .jpg, .jpeg or .png is needed");
}

}  // namespace deploy
