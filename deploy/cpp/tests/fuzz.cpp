// Mutated pictures through the decoder: each gives a picture or a PictureError, never a crash or another exception.
//   fuzz [ROUNDS] [SEED]
// The same arguments give the same bytes; a failing round is named, and alone again with SEED alone.
#include <algorithm>
#include <iostream>
#include <opencv2/imgcodecs.hpp>
#include <random>

#include "check.h"
#include "picture.h"

using deploy::Bytes;

namespace {

cv::Mat sample(int type) {
    cv::Mat pixels(48, 64, CV_MAKETYPE(CV_8U, CV_MAT_CN(type)));
    cv::RNG(1).fill(pixels, cv::RNG::UNIFORM, 0, 256);
    pixels.rowRange(0, 24) = cv::Scalar::all(90);
    pixels.convertTo(pixels, type, CV_MAT_DEPTH(type) == CV_16U ? 257 : 1);
    return pixels;
}

std::vector<Bytes> seeds() {
    struct Kind {
        const char* suffix;
        int type;
        std::vector<int> parameters;
    };
    const Kind kinds[] = {
        {".jpg", CV_8UC3, {}},
        {".jpg", CV_8UC3, {cv::IMWRITE_JPEG_PROGRESSIVE, 1}},
        {".jpg", CV_8UC3, {cv::IMWRITE_JPEG_RST_INTERVAL, 2}},
        {".jpg", CV_8UC1, {}},
        {".png", CV_8UC3, {}},
        {".png", CV_8UC4, {}},
        {".png", CV_16UC3, {}},
        {".bmp", CV_8UC3, {}},
        {".webp", CV_8UC3, {cv::IMWRITE_WEBP_QUALITY, 80}},
        {".webp", CV_8UC4, {cv::IMWRITE_WEBP_QUALITY, 101}},
        {".tif", CV_16UC3, {}},
    };
    std::vector<Bytes> files;
    for (const auto& kind : kinds) CHECK(cv::imencode(kind.suffix, sample(kind.type), files.emplace_back(), kind.parameters));
    return files;
}

class Mutation {
  public:
    Mutation(unsigned seed, unsigned round) : random_{seed, round} {
        std::seed_seq mixed(random_.begin(), random_.end());
        engine_.seed(mixed);
    }

    size_t below(size_t limit) { return engine_() % limit; }

    void mutate(Bytes& file) {
        for (size_t i = 1 + below(4); i > 0 && !file.empty(); --i) mutate_once(file);
    }

  private:
    /// Headers decide more than pixels do, so half of all mutations happen there.
    size_t place(const Bytes& file) { return below(2) ? below(file.size()) : below(std::min<size_t>(file.size(), 128)); }

    void mutate_once(Bytes& file) {
        auto at = file.begin() + place(file);
        size_t length = std::min<size_t>(1 + below(64), file.end() - at);
        switch (below(6)) {
            case 0: *at ^= 1 << below(8); break;
            case 1: *at = below(2) ? 0xff : 0; break;
            case 2: std::generate_n(at, length, [&] { return below(256); }); break;
            case 3: file.erase(at, at + length); break;
            case 4: {
                Bytes copy(at, at + length);
                file.insert(file.begin() + place(file), copy.begin(), copy.end());
                break;
            }
            // A cut JPEG keeps its end marker, or the decoder would never see what is missing.
            case 5:
                file.erase(at, file.end());
                file.insert(file.end(), {0xff, 0xd9});
        }
    }

    std::vector<unsigned> random_;
    std::mt19937 engine_;
};

bool is_picture(const Bytes& content) {
    try {
        cv::Mat bgr;
        deploy::decode(content, bgr);
        CHECK(bgr.type() == CV_8UC3 && bgr.rows > 0 && bgr.cols > 0 && bgr.isContinuous());
        return true;
    } catch (const deploy::PictureError& error) {
        CHECK(*error.what());
        return false;
    }
}

}  // namespace

int main(int argc, char** argv) {
    const unsigned rounds = argc > 1 ? std::stoul(argv[1]) : 5000, seed = argc > 2 ? std::stoul(argv[2]) : 0;
    const auto files = seeds();
    for (const auto& file : files) CHECK(is_picture(file));
    unsigned pictures = 0;
    for (unsigned round = 0; round < rounds; ++round) {
        Mutation mutation(seed, round);
        Bytes file = files[mutation.below(files.size())];
        mutation.mutate(file);
        try {
            pictures += is_picture(file);
        } catch (const std::exception& error) {
            std::cerr << "round " << round << " of seed " << seed << ": " << error.what() << '\n';
            return 1;
        }
    }
    std::cout << rounds << " mutated files: " << pictures << " pictures, " << rounds - pictures << " errors\n";
}
