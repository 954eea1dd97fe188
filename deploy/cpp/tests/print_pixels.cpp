// What the decoder sees of each file, for tests/test_formats.py: a line "W H" and the pixels as RGB, or a line with the reason.
#include <cstdio>

#include "picture.h"

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        deploy::Bytes content;
        deploy::Image bgr;
        try {
            deploy::read_file(argv[i], content);
            deploy::decode(content, bgr);
        } catch (const deploy::PictureError& error) {
            std::printf("error: %s\n", error.what());
            continue;
        }
        std::printf("%d %d\n", bgr.cols, bgr.rows);
        for (const auto* p = bgr.data(); p < bgr.data() + bgr.size(); p += 3)
            for (int c = 2; c >= 0; --c) std::putchar(p[c]);
    }
}
