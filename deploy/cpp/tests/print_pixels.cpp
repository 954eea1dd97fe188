// What the decoder sees of each file, for the tests in Python: a line "W H" and the pixels as RGB, or a line with the reason.
//   print_pixels AT_LEAST FILE...     AT_LEAST: as in picture.h, 0 for their own size
#include <cstdio>
#include <cstdlib>

#include "picture.h"

int main(int argc, char** argv) {
    size_t at_least = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
    for (int i = 2; i < argc; ++i) {
        deploy::Bytes content;
        deploy::Image bgr;
        try {
            deploy::read_file(argv[i], content);
            deploy::decode(content, bgr, deploy::MAX_PIXELS, at_least ? at_least : deploy::OWN_SIZE);
        } catch (const deploy::PictureError& error) {
            std::printf("error: %s\n", error.what());
            continue;
        }
        std::printf("%d %d\n", bgr.cols, bgr.rows);
        for (const auto* p = bgr.data(); p < bgr.data() + bgr.size(); p += 3)
            for (int c = 2; c >= 0; --c) std::putchar(p[c]);
    }
}
