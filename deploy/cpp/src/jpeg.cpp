#include "jpeg.h"

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it first

#include <jpeglib.h>

namespace deploy {
namespace {

const size_t MAX_PIXELS = 178956970;  // as Pillow, and so Python, has it

/// libjpeg's only way out of an error is a jump. No object with a destructor may lie between the jump and `read`.
class Decoder {
  public:
    Decoder() {
        state_.err = jpeg_std_error(&errors_);
        errors_.error_exit = [](j_common_ptr state) { std::longjmp(static_cast<Decoder*>(state->client_data)->escape_, 1); };
        errors_.emit_message = [](j_common_ptr, int) {};  // warnings of damaged data, which libjpeg fills up
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

    bool read_pixels(cv::Mat& bgr) {
        if (setjmp(escape_)) return false;
        state_.out_color_space = JCS_EXT_BGR;
        jpeg_start_decompress(&state_);
        while (state_.output_scanline < state_.output_height) {
            JSAMPROW row = bgr.ptr(state_.output_scanline);
            jpeg_read_scanlines(&state_, &row, 1);
        }
        return true;
    }

    cv::Size size() const { return {int(state_.image_width), int(state_.image_height)}; }
    bool is_cmyk() const { return state_.num_components == 4; }

    std::string error() {
        char text[JMSG_LENGTH_MAX];
        errors_.format_message(reinterpret_cast<j_common_ptr>(&state_), text);
        return std::string("truncated or damaged (") + text + ")";
    }

  private:
    jpeg_decompress_struct state_{};
    jpeg_error_mgr errors_{};
    std::jmp_buf escape_;
};

}  // namespace

bool decode_jpeg(const Bytes& content, cv::Mat& bgr) {
    Decoder decoder;
    if (!decoder.read_header(content)) throw PictureError(decoder.error());
    if (decoder.is_cmyk()) return false;
    if (size_t(decoder.size().width) * decoder.size().height > MAX_PIXELS) throw PictureError("larger than 179 million pixels");
    bgr.create(decoder.size(), CV_8UC3);
    if (!decoder.read_pixels(bgr)) throw PictureError(decoder.error());
    return true;
}

}  // namespace deploy
