// Decoding on its own terms: what tests/test_formats.py cannot see from Python. Argument: the folder of odd pictures.
#include <cstring>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "exif.h"
#include "picture.h"
#include "write.h"

using namespace deploy;
namespace fs = std::filesystem;

namespace {

/// A picture in which every corner and channel differs.
Image sample() {
    Image picture(6, 9, {});
    for (int y = 0; y < 6; ++y)
        for (int x = 0; x < 9; ++x) picture.at(y, x) = {Byte(20 * y), Byte(25 * x), Byte(10 * x + 15 * y)};
    return picture;
}

Image decoded(const Bytes& content) {
    Image bgr;
    decode(content, bgr);
    return bgr;
}

/// The largest difference of two values; more than any for pictures of different sizes.
int difference(const Image& a, const Image& b) {
    if (a.rows != b.rows || a.cols != b.cols) return 256;
    int largest = 0;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a.data()[i] - b.data()[i]));
    return largest;
}

bool same(const Image& a, const Image& b) { return difference(a, b) == 0; }

std::string error_of(const Bytes& content) {
    return message_of<PictureError>([&] { decoded(content); });
}

void what_is_written_can_be_read() {
    CHECK(same(decoded(encode(".png", sample())), sample()));
    const Image flat(16, 16, {20, 60, 220});
    CHECK(difference(decoded(encode(".JPG", flat)), flat) <= 2);
    CHECK(message_of<std::runtime_error>([] { encode(".tif", sample()); }).find(".jpg, .jpeg or .png") != std::string::npos);
}

void frames_of_any_readable_type_become_bgr() {
    Image bgr;
    const Byte greys[] = {77, 78, 0, 79, 80, 0};  // rows that are longer than they need to be
    to_bgr({2, 2, 0, greys, 3}, bgr);
    CHECK(bgr.rows == 2 && bgr.cols == 2 && bgr.at(0, 1) == grey_pixel(78) && bgr.at(1, 0) == grey_pixel(79));
    const uint16_t deep[] = {65535, 257 * 100 + 129, 128};
    to_bgr({1, 1, 18, deep, sizeof deep}, bgr);
    CHECK(same(bgr, Image(1, 1, {255, 101, 0})));
    const Byte clear[] = {0, 100, 200, 51};
    to_bgr({1, 1, 24, clear, sizeof clear}, bgr);
    CHECK(same(bgr, Image(1, 1, {204, 224, 244})));
    for (int type : {-1, 1, 8, 21, 32, 64}) CHECK(!is_readable_type(type));
}

void turned_pictures_stand_upright() {
    // Where the first row and the first column of the file lie in the upright picture; see the EXIF standard.
    struct Point {
        int x, y;
    };
    const Image file = sample();
    const Point last{file.cols - 1, file.rows - 1};
    for (int orientation = 1; orientation <= 8; ++orientation) {
        Image upright = file;
        turn(upright, orientation);
        bool on_its_side = orientation >= 5;
        CHECK(upright.rows == (on_its_side ? file.cols : file.rows));
        for (int y = 0; y < file.rows; ++y)
            for (int x = 0; x < file.cols; ++x) {
                const Point places[] = {{x, y}, {last.x - x, y}, {last.x - x, last.y - y}, {x, last.y - y},
                                            {y, x}, {last.y - y, x}, {last.y - y, last.x - x}, {y, last.x - x}};
                const Point place = places[orientation - 1];
                CHECK(upright.at(place.y, place.x) == file.at(y, x));
            }
    }
}

/// No file, cut anywhere, may be read beyond its end: for the sanitizers.
void cut_files_are_read_to_their_end_only(const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(folder)) {
        Bytes content;
        read_file(entry.path(), content);
        for (size_t length : {content.size() / 2, content.size() / 3, size_t(40), size_t(20), size_t(11)}) {
            if (length > content.size()) continue;
            Bytes cut(content.begin(), content.begin() + std::ptrdiff_t(length));
            Image bgr;
            try {
                decode(cut, bgr, 1'000'000);
            } catch (const PictureError&) {
            }
        }
    }
}

void a_bad_file_never_shows_the_picture_before_it(const fs::path& folder) {
    for (const char* name : {"cut__error.jpg", "cut__error.png", "cut__error.webp", "cut__error.gif", "strip_outside__error.tif"}) {
        Bytes content;
        read_file(folder / name, content);
        Image bgr = sample();
        CHECK(!message_of<PictureError>([&] { decode(content, bgr); }).empty());
    }
}

void pixels_are_counted_before_they_are_decoded(const fs::path& folder) {
    for (const char* suffix : {"jpg", "png", "bmp", "gif", "ppm", "tif", "webp"}) {
        Bytes content;
        read_file(folder / ("bomb__error." + std::string(suffix)), content);
        CHECK(error_of(content).find("more than the 200 million") != std::string::npos);
    }
    Image bgr;
    auto small = encode(".png", sample());
    decode(small, bgr, 54);
    auto error = message_of<PictureError>([&] { decode(small, bgr, 53); });
    CHECK(error == "9 x 6 pixels, more than the 5.3e-05 million that are allowed (max_pixels)");
}

void only_regular_files_are_read() {
    Bytes content;
    auto error = [&](const fs::path& path) { return message_of<PictureError>([&] { read_file(path, content); }); };
    const fs::path pipe = fs::temp_directory_path() / ("pipe" + std::to_string(getpid()));
    CHECK(mkfifo(pipe.c_str(), 0600) == 0);
    CHECK(error(pipe) == "not a regular file");
    fs::remove(pipe);
    CHECK(error("/nowhere/a.jpg") == "cannot be opened (No such file or directory)");
    CHECK(error("/dev/zero") == "not a regular file");
    CHECK(error("/") == "not a regular file");
}

}  // namespace

int main(int, char** argv) {
    what_is_written_can_be_read();
    frames_of_any_readable_type_become_bgr();
    turned_pictures_stand_upright();
    cut_files_are_read_to_their_end_only(argv[1]);
    a_bad_file_never_shows_the_picture_before_it(argv[1]);
    pixels_are_counted_before_they_are_decoded(argv[1]);
    only_regular_files_are_read();
}
