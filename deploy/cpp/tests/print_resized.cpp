// A picture in other sizes, for tests/test_cpp_resize.py: its pixels as BGR, one size after the other.
//   print_resized FILE area|linear ROWS COLS [ROWS COLS ...]
#include <cstdio>
#include <string>

#include "picture.h"
#include "resize.h"

int main(int argc, char** argv) {
    using namespace deploy;
    Bytes content;
    Image in, out;
    read_file(argv[1], content);
    decode(content, in);
    Resize resize;
    for (int i = 3; i + 1 < argc; i += 2) {
        resize(in, std::stoi(argv[i]), std::stoi(argv[i + 1]), std::string(argv[2]) == "area" ? Resizing::area : Resizing::linear, out);
        std::fwrite(out.data(), 1, out.size(), stdout);
    }
}
