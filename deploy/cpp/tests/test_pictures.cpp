// Decoding: what people send becomes 8-bit BGR as they see it, or an error that says why not. And shrinking it.
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "check.h"
#include "exif.h"
#include "picture.h"
#include "shrink.h"

using namespace deploy;

namespace {

/// A picture in which every corner and channel differs.
cv::Mat sample() {
    cv::Mat picture(6, 9, CV_8UC3);
    for (int y = 0; y < 6; ++y)
        for (int x = 0; x < 9; ++x) picture.at<cv::Vec3b>(y, x) = cv::Vec3b(20 * y, 25 * x, 10 * x + 15 * y);
    return picture;
}

Bytes encoded(const char* suffix, const cv::Mat& pixels) {
    Bytes content;
    CHECK(cv::imencode(suffix, pixels, content));
    return content;
}

cv::Mat decoded(const Bytes& content) {
    cv::Mat bgr;
    decode(content, bgr);
    return bgr;
}

bool same(const cv::Mat& a, const cv::Mat& b) { return a.type() == b.type() && a.size() == b.size() && cv::norm(a, b, cv::NORM_INF) == 0; }

std::string error_of(const Bytes& content) {
    return message_of<PictureError>([&] { decoded(content); });
}

void lossless_files_keep_their_pixels() {
    for (auto suffix : {".png", ".bmp", ".tif"}) CHECK(same(decoded(encoded(suffix, sample())), sample()));
}

void jpeg_has_the_pixels_that_opencv_sees() {
    auto content = encoded(".jpg", sample());
    CHECK(same(decoded(content), cv::imdecode(content, cv::IMREAD_COLOR)));
}

void grey_becomes_three_equal_channels() {
    CHECK(same(decoded(encoded(".png", cv::Mat(4, 5, CV_8UC1, cv::Scalar(77)))), cv::Mat(4, 5, CV_8UC3, cv::Scalar::all(77))));
}

void sixteen_bits_are_scaled_not_cut() {
    cv::Mat deep(2, 2, CV_16UC3, cv::Scalar(65535, 257 * 100 + 129, 128));
    CHECK(same(decoded(encoded(".png", deep)), cv::Mat(2, 2, CV_8UC3, cv::Scalar(255, 101, 0))));
}

void alpha_is_laid_over_white() {
    cv::Mat pixels(1, 3, CV_8UC4);
    pixels.at<cv::Vec4b>(0, 0) = {10, 20, 30, 255};
    pixels.at<cv::Vec4b>(0, 1) = {10, 20, 30, 0};
    pixels.at<cv::Vec4b>(0, 2) = {0, 100, 200, 51};
    cv::Mat bgr = decoded(encoded(".png", pixels));
    CHECK(bgr.at<cv::Vec3b>(0, 0) == cv::Vec3b(10, 20, 30));
    CHECK(bgr.at<cv::Vec3b>(0, 1) == cv::Vec3b(255, 255, 255));
    CHECK(bgr.at<cv::Vec3b>(0, 2) == cv::Vec3b(204, 224, 244));
}

/// EXIF data that says `orientation`, behind a head that says what it is.
Bytes exif(Bytes head, unsigned char orientation) {
    const Bytes tiff{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0};
    head.insert(head.end(), tiff.begin(), tiff.end());
    return head;
}

Bytes jpeg_with_orientation(unsigned char orientation) {
    auto content = encoded(".jpg", sample());
    auto segment = exif({0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0}, orientation);
    content.insert(content.begin() + 2, segment.begin(), segment.end());
    return content;
}

/// `content` (a PNG) with an eXIf chunk behind its header that says `orientation`. The checksum is left out: the chunk is ancillary.
Bytes with_orientation(Bytes content, unsigned char orientation) {
    auto chunk = exif({0, 0, 0, 26, 'e', 'X', 'I', 'f'}, orientation);
    chunk.insert(chunk.end(), 4, 0);
    content.insert(content.begin() + 33, chunk.begin(), chunk.end());
    return content;
}

void orientation_is_read_where_it_is_and_1_otherwise() {
    auto png = encoded(".png", sample());
    CHECK(exif_orientation(png) == 1);
    for (int k = 1; k <= 8; ++k) {
        CHECK(exif_orientation(with_orientation(png, k)) == k);
        CHECK(exif_orientation(jpeg_with_orientation(k)) == k);
        // OpenCV turns a JPEG by itself, so it is the judge.
        CHECK(same(decoded(jpeg_with_orientation(k)), cv::imdecode(jpeg_with_orientation(k), cv::IMREAD_COLOR)));
    }
    CHECK(exif_orientation(with_orientation(png, 9)) == 1);
    auto cut = with_orientation(png, 6);
    cut.resize(33 + 20);
    CHECK(exif_orientation(cut) == 1);
}

void turned_pictures_stand_upright() {
    // Where the first row and the first column of the file lie in the upright picture; see the EXIF standard.
    const cv::Mat file = sample();
    const cv::Point last(file.cols - 1, file.rows - 1);
    for (int orientation = 1; orientation <= 8; ++orientation) {
        cv::Mat upright = file.clone();
        turn(upright, orientation);
        bool on_its_side = orientation >= 5;
        CHECK(upright.rows == (on_its_side ? file.cols : file.rows));
        for (int y = 0; y < file.rows; ++y)
            for (int x = 0; x < file.cols; ++x) {
                const cv::Point places[] = {{x, y}, {last.x - x, y}, {last.x - x, last.y - y}, {x, last.y - y},
                                            {y, x}, {last.y - y, x}, {last.y - y, last.x - x}, {y, last.x - x}};
                CHECK(upright.at<cv::Vec3b>(places[orientation - 1]) == file.at<cv::Vec3b>(y, x));
            }
    }
}

void bad_files_say_why() {
    CHECK(error_of({}) == "empty file (0 bytes)");
    CHECK(error_of({'h', 'e', 'l', 'l', 'o'}).find("not an image") == 0);
    for (auto suffix : {".png", ".bmp"}) {
        auto content = encoded(suffix, sample());
        content.resize(content.size() / 2);
        CHECK(error_of(content).find("truncated or damaged") == 0);
    }
    auto jpeg = encoded(".jpg", sample());
    jpeg.resize(jpeg.size() - 2);
    CHECK(error_of(jpeg) == "truncated or damaged (a JPEG without end-of-image marker)");
    CHECK(error_of(encoded(".tif", cv::Mat(3, 3, CV_32FC3, cv::Scalar::all(1)))).find("only 8 and 16 bits") != std::string::npos);
}

void a_bad_file_never_shows_the_picture_before_it() {
    cv::Mat bgr = sample();
    CHECK(!message_of<PictureError>([&] { decode({0xff, 0xd8, 0xff, 0xd9}, bgr); }).empty());
}

void only_files_are_read() {
    Bytes content;
    auto error = [&](const char* path) { return message_of<PictureError>([&] { read_file(path, content); }); };
    CHECK(error("/nowhere/a.jpg") == "cannot be opened (No such file or directory)");
    CHECK(error("/dev/zero") == "not a file");
    CHECK(error("/") == "not a file");
}

void shrinking_is_opencvs_inter_area() {
    deploy::Shrink shrink;
    const cv::Size sizes[] = {{400, 533}, {301, 97}, {72, 72}, {73, 72}, {144, 216}, {1000, 40}, {3, 200}, {1, 1}, {731, 1024}};
    for (auto size : sizes) {
        cv::Mat pixels(size, CV_8UC3), expected, ours, difference;
        cv::RNG(2).fill(pixels, cv::RNG::UNIFORM, 0, 256);
        cv::resize(pixels, expected, {72, 72}, 0, 0, cv::INTER_AREA);
        shrink(pixels, 72, ours);
        cv::absdiff(expected, ours, difference);
        CHECK(cv::norm(difference, cv::NORM_INF) <= 1);  // where a mean lies at half a grey level
        CHECK(cv::countNonZero(difference.reshape(1)) <= 5);
    }
}

}  // namespace

int main() {
    lossless_files_keep_their_pixels();
    jpeg_has_the_pixels_that_opencv_sees();
    grey_becomes_three_equal_channels();
    sixteen_bits_are_scaled_not_cut();
    alpha_is_laid_over_white();
    orientation_is_read_where_it_is_and_1_otherwise();
    turned_pictures_stand_upright();
    bad_files_say_why();
    a_bad_file_never_shows_the_picture_before_it();
    only_files_are_read();
    shrinking_is_opencvs_inter_area();
}
