// Networks, pre-processing, the pipeline and its output, on networks whose answers are known (see write_networks.cpp).
#include <cmath>
#include <filesystem>
#include <fstream>
#include <locale>
#include <sstream>

#include "check.h"
#include "output.h"
#include "paths.h"
#include "write.h"

using namespace deploy;
namespace fs = std::filesystem;

namespace {

fs::path networks, scratch;

Model network(const std::string& kind) { return load_model(networks / kind / "model.xml", {}); }

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

void write_picture(const fs::path& path, const Image& bgr) {
    auto content = encode(".png", bgr);
    write_text(path, std::string(content.begin(), content.end()));
}

Frame frame_of(const Image& bgr) { return {bgr.rows, bgr.cols, BGR_TYPE, bgr.data(), size_t(3 * bgr.cols)}; }

bool near(double a, double b) { return std::abs(a - b) < 1e-5; }

/// Softmax of three logits, worked out in double precision.
std::vector<double> softmax(std::vector<double> values) {
    double sum = 0;
    for (double& value : values) sum += value = std::exp(value);
    for (double& value : values) value /= sum;
    return values;
}

void expect(const Answer& answer, std::vector<double> logits) {
    auto expected = softmax(logits);
    CHECK(answer.probabilities.size() == 3);
    for (int c = 0; c < 3; ++c) CHECK(near(answer.probabilities[c], expected[c]));
}

void every_kind_of_input_gets_its_channels_right() {
    const Image red(12, 16, {20, 60, 220});  // B, G, R
    for (const char* kind : {"floats", "rgb", "bgr", "picture", "picture_rgb"}) {
        Model model = network(kind);
        Request request(model);
        request.load_pixels(frame_of(red));
        if (model.input.kind == InputSpec::Kind::floats)
            expect(request.infer(), {(220 - 100) / 50.0, (60 - 100) / 40.0, (20 - 100) / 25.0});
        else
            expect(request.infer(), {220 / 50.0, 60 / 50.0, 20 / 50.0});
    }
}

void only_the_middle_of_the_resized_picture_counts() {
    Image framed(100, 100, grey_pixel(255));
    for (int y = 10; y < 90; ++y)  // resized to 10 pixels, the network sees the middle 8
        for (int x = 10; x < 90; ++x) framed.at(y, x) = {20, 60, 220};
    Model model = network("rgb");
    Request request(model);
    request.load_pixels(frame_of(framed));
    expect(request.infer(), {220 / 50.0, 60 / 50.0, 20 / 50.0});
}

void pixels_of_the_caller_are_never_written_to() {
    const Image mine(12, 16, {1, 2, 3}), before = mine;
    Bytes other = encode(".png", Image(12, 16, grey_pixel(200)));
    Model model = network("picture");
    Request request(model);
    request.load_pixels(frame_of(mine));
    request.load_bytes(other);
    CHECK(std::equal(mine.data(), mine.data() + mine.size(), before.data()));
}

void huge_logits_do_not_overflow() {
    const float logits[] = {1000, 999, -1000};
    Answer answer = answer_of(logits, 3);
    CHECK(answer.best == 0 && near(answer.probabilities[0], 1 / (1 + std::exp(-1))) && answer.probabilities[2] == 0);
}

void unusable_networks_say_what_to_do() {
    auto error = [](const fs::path& path) { return message_of<std::runtime_error>([&] { load_model(path, {}); }); };
    CHECK(error("/nowhere/model.xml").find("/nowhere/model.xml: no such file") == 0);
    fs::create_directories(scratch / "damaged");
    write_text(scratch / "damaged" / "model.xml", R"(<?xml version="1.0"?><net name="x" version="11"><layers>)");
    write_text(scratch / "damaged" / "model.bin", "");
    CHECK(error(scratch / "damaged" / "model.xml").find("cannot be used on CPU") != std::string::npos);
    fs::copy(networks / "rgb", scratch / "labels");
    write_text(scratch / "labels" / "labels.txt", "one\ntwo\n");
    CHECK(error(scratch / "labels" / "model.xml").find("2 class names") != std::string::npos);
}

/// 200 pictures, alternately red and blue, every tenth one bad.
std::vector<std::string> many_pictures() {
    std::vector<std::string> paths;
    for (int i = 0; i < 200; ++i) {
        paths.push_back(scratch / ("p" + std::to_string(i) + ".png"));
        if (i % 10 == 9)
            write_text(paths.back(), "no picture");
        else  // of different sizes, so that they take different times
            write_picture(paths.back(), Image(8 + i * 7 % 300, 9 + i, i % 2 ? Pixel{200, 0, 0} : Pixel{0, 0, 200}));
    }
    return paths;
}

void results_come_in_order_with_bad_files_in_their_place(const std::vector<std::string>& paths) {
    for (const char* kind : {"floats", "picture"}) {
        Model model = network(kind);
        size_t next = 0, taken = 0;
        auto source = [&] { return next < paths.size() ? std::optional(paths[next++]) : std::nullopt; };
        classify_all(model, 3, MAX_PIXELS, source, [&](const Result& result) {
            CHECK(result.path == paths[taken]);
            CHECK(result.answer.has_value() == (taken % 10 != 9));
            CHECK(result.answer ? result.answer->best == (taken % 2 ? 2 : 0) : result.error.find("not an image") == 0);
            ++taken;
        });
        CHECK(taken == paths.size());
    }
}

void a_failing_sink_ends_the_run(const std::vector<std::string>& paths) {
    Model model = network("floats");
    size_t claimed = 0;
    auto source = [&] { return std::optional(paths[claimed++ % paths.size()]); };  // endless
    auto sink = [](const Result&) { throw std::runtime_error("disk full"); };
    CHECK(message_of<std::runtime_error>([&] { classify_all(model, 2, MAX_PIXELS, source, sink); }) == "disk full");
    CHECK(claimed < 1000);  // the window is bounded
}

/// As the host of libji.so may set it: numbers with a comma.
void language_settings_change_no_number() {
    struct Comma : std::numpunct<char> {
        char do_decimal_point() const override { return ','; }
        char do_thousands_sep() const override { return '.'; }
        std::string do_grouping() const override { return "\3"; }
    };
    fs::create_directories(scratch / "points");
    for (const char* name : {"model.xml", "model.bin"}) fs::copy(networks / "floats" / name, scratch / "points");
    std::ifstream file(scratch / "points" / "model.xml");
    std::string xml((std::istreambuf_iterator<char>(file)), {});
    xml.replace(xml.find("100 100 100"), 11, "99.5 99.5 99.5");
    write_text(scratch / "points" / "model.xml", xml);
    const auto before = std::locale::global(std::locale(std::locale::classic(), new Comma));
    Model model = load_model(scratch / "points" / "model.xml", {});
    std::ostringstream json;
    make_writer("json", json, {"a", "b"}, 0)->write({"x", Answer{1, {0.25f, 0.75f}}, ""});
    std::locale::global(before);
    CHECK(model.input.mean[0] == 99.5 && model.input.image_size == 8);
    CHECK(json.str().find("\"confidence\":0.75") != std::string::npos);
}

void csv_and_json_are_well_formed() {
    CHECK(csv_field("a,\"b\"\n") == "\"a,\"\"b\"\"\n\"" && csv_field("plain") == "plain");
    const std::vector<std::string> classes{"a,b", "c"};
    const Result good{"x\xff.png", Answer{1, {0.25f, 0.75f}}, ""}, bad{"y \"z\".png", {}, "not an image"};
    std::ostringstream csv, json, nothing;
    for (auto [format, out] : {std::pair("csv", &csv), std::pair("json", &json)}) {
        auto writer = make_writer(format, *out, classes, 0);
        writer->write(good);
        writer->write(bad);
        writer->finish();
    }
    CHECK(csv.str() == "path,class,confidence,\"p_a,b\",p_c,error\n"
                       "x\xff.png,c,0.750000,0.250000,0.750000,\n"
                       "\"y \"\"z\"\".png\",,,,,not an image\n");
    CHECK(json.str() == "[\n{\"path\":\"x\xef\xbf\xbd.png\",\"class\":\"c\",\"confidence\":0.75,\"probabilities\":{\"a,b\":0.25,\"c\":0.75}},\n"
                        "{\"path\":\"y \\\"z\\\".png\",\"error\":\"not an image\"}\n]\n");
    make_writer("json", nothing, classes, 0)->finish();
    CHECK(nothing.str() == "[\n]\n");
}

void low_confidence_is_called_unknown() {
    const std::vector<std::string> classes{"a", "b"};
    const Answer answer{1, {0.25f, 0.75f}};
    CHECK(class_of(answer, classes, 0) == "b" && class_of(answer, classes, 0.75f) == "b");
    CHECK(class_of(answer, classes, 0.7500001f) == "unknown" && class_of(answer, classes, 1) == "unknown");
    CHECK(class_of(Answer{0, {1, 0}}, classes, 1) == "a");
    std::ostringstream csv, json;
    make_writer("csv", csv, classes, 0.8f)->write({"x.png", answer, ""});
    make_writer("json", json, classes, 0.8f)->write({"x.png", answer, ""});
    CHECK(csv.str() == "path,class,confidence,p_a,p_b,error\nx.png,unknown,0.750000,0.250000,0.750000,\n");
    CHECK(json.str() == "[\n{\"path\":\"x.png\",\"class\":\"unknown\",\"confidence\":0.75,\"probabilities\":{\"a\":0.25,\"b\":0.75}}");
}

void the_network_says_what_it_rejects() {
    CHECK(network("floats").reject_below == 0 && network("rgb").reject_below == 0.5f);
}

void folders_are_walked_in_order_and_lists_are_read() {
    const fs::path root = scratch / "walk";
    for (const char* folder : {"b", "a/c", ".hidden"}) fs::create_directories(root / folder);
    for (const char* file : {"b/2.png", "b/1.png", "a/c/3.jpg", ".hidden/4.png", "notes.TXT", "b/.5.png", "Thumbs.db"}) write_text(root / file, "");
    CHECK((list_pictures({root}) == std::vector<std::string>{root / "a/c/3.jpg", root / "b/1.png", root / "b/2.png"}));
    write_text(scratch / "list.txt", "one.jpg\r\n\nd/two.jpg");
    CHECK((list_pictures({"z.png", scratch / "list.txt"}) == std::vector<std::string>{"z.png", "one.jpg", "d/two.jpg"}));
    CHECK(message_of<std::runtime_error>([] { read_list("/nowhere.txt"); }).find("/nowhere.txt: cannot be read") == 0);
}

}  // namespace

int main(int, char** argv) {
    networks = argv[1];
    scratch = networks / "scratch";
    fs::remove_all(scratch);
    fs::create_directories(scratch);
    every_kind_of_input_gets_its_channels_right();
    only_the_middle_of_the_resized_picture_counts();
    pixels_of_the_caller_are_never_written_to();
    huge_logits_do_not_overflow();
    unusable_networks_say_what_to_do();
    auto paths = many_pictures();
    results_come_in_order_with_bad_files_in_their_place(paths);
    a_failing_sink_ends_the_run(paths);
    csv_and_json_are_well_formed();
    low_confidence_is_called_unknown();
    the_network_says_what_it_rejects();
    language_settings_change_no_number();
    folders_are_walked_in_order_and_lists_are_read();
}
