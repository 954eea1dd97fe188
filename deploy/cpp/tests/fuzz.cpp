// Mutated pictures through the decoder: each gives a picture or a PictureError, never a crash or another exception.
//   fuzz FOLDER [ROUNDS] [SEED]
// FOLDER: of the pictures that are mutated, from tests/odd_pictures.py.
// The same arguments give the same bytes; a failing round is named, and alone again with SEED alone.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <random>

#include "check.h"
#include "picture.h"

using deploy::Bytes;

namespace {

const size_t MAX_PIXELS = 1'000'000;  // a mutated header may claim more, and would take time and memory

/// The pictures among the files in `folder`, in the order of their names.
std::vector<Bytes> seeds(const std::string& folder) {
    std::vector<std::filesystem::path> paths(std::filesystem::directory_iterator(folder), {});
    std::sort(paths.begin(), paths.end());
    std::vector<Bytes> files;
    for (const auto& path : paths) {
        if (path.string().find("__error") != std::string::npos || path.string().find("__only_python") != std::string::npos) continue;
        deploy::read_file(path, files.emplace_back());
    }
    CHECK(files.size() > 100);
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
        deploy::Image bgr;
        deploy::decode(content, bgr, MAX_PIXELS);
        CHECK(bgr.rows > 0 && bgr.cols > 0);
        return true;
    } catch (const deploy::PictureError& error) {
        CHECK(*error.what());
        return false;
    }
}

}  // namespace

int main(int argc, char** argv) {
    CHECK(argc > 1);
    const unsigned rounds = argc > 2 ? std::stoul(argv[2]) : 5000, seed = argc > 3 ? std::stoul(argv[3]) : 0;
    const auto files = seeds(argv[1]);
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
