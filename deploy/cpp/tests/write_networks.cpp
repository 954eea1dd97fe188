// Networks whose answers can be worked out by hand: the logits are the mean of each colour channel, in R, G, B order.
//   write_networks NETWORKS HOME
// writes NETWORKS/<kind>/model.xml for every kind of input, a red picture, and HOME/{model,config} for libji.so in HOME/lib.
#include <filesystem>
#include <fstream>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>

#include "write.h"

namespace fs = std::filesystem;
namespace op = ov::opset13;

namespace {

const int RESIZE = 10, SIZE = 8;

/// `order`: which channel of the input is red, green, blue.
std::shared_ptr<ov::Model> mean_colour(ov::element::Type type, const ov::PartialShape& shape, std::vector<int64_t> order) {
    bool channels_first = type == ov::element::f32;
    auto input = std::make_shared<op::Parameter>(type, shape);
    auto floats = std::make_shared<op::Convert>(input, ov::element::f32);
    auto places = op::Constant::create(ov::element::i64, {2}, channels_first ? std::vector<int64_t>{2, 3} : std::vector<int64_t>{1, 2});
    auto mean = std::make_shared<op::ReduceMean>(floats, places, false);
    auto logits = std::make_shared<op::Gather>(mean, op::Constant::create(ov::element::i64, {3}, order),
                                               op::Constant::create(ov::element::i64, {}, {1}));
    auto scaled = std::make_shared<op::Multiply>(logits, op::Constant::create(ov::element::f32, {}, {channels_first ? 1.0f : 1 / 50.0f}));
    return std::make_shared<ov::Model>(ov::OutputVector{scaled}, ov::ParameterVector{input});
}

/// reject_below: a note that older networks lack.
void write(const fs::path& folder, const std::shared_ptr<ov::Model>& network, bool bgr, const char* reject_below = nullptr) {
    auto set = [&](const std::string& key, const std::string& value) { network->set_rt_info(value, "model_info", key); };
    set("reverse_input_channels", bgr ? "False" : "True");
    set("input_fit", "stretch");
    set("input_resize", std::to_string(RESIZE));
    set("input_image_size", std::to_string(SIZE));
    set("mean_values", "100 100 100");
    set("scale_values", "50 40 25");
    set("labels", "red_one green blue");
    if (reject_below) set("confidence_threshold", reject_below);
    fs::create_directories(folder);
    ov::save_model(network, (folder / "model.xml").string(), false);
}

}  // namespace

int main(int, char** argv) {
    const fs::path networks = argv[1], home = argv[2];
    write(networks / "floats", mean_colour(ov::element::f32, {-1, 3, SIZE, SIZE}, {0, 1, 2}), false);
    write(networks / "rgb", mean_colour(ov::element::u8, {1, SIZE, SIZE, 3}, {0, 1, 2}), false, "0.5");
    write(networks / "bgr", mean_colour(ov::element::u8, {-1, SIZE, SIZE, 3}, {2, 1, 0}), true);
    write(networks / "picture", mean_colour(ov::element::u8, {1, -1, -1, 3}, {2, 1, 0}), true);
    write(networks / "picture_rgb", mean_colour(ov::element::u8, {1, -1, -1, 3}, {0, 1, 2}), false);
    write(home / "model", mean_colour(ov::element::f32, {1, 3, SIZE, SIZE}, {0, 1, 2}), false);
    std::ofstream(home / "model" / "labels.txt") << "red \"one\"\ngreen\nblue\n";
    fs::create_directories(home / "config");
    std::ofstream(home / "config" / "algo_config.json") << R"({"threads": 1, "alert_classes": ["blue"],
        "answer": {"name": "$class", "confidence": "$confidence", "probabilities": "$probabilities"}})";
    auto red = deploy::encode(".png", deploy::Image(12, 16, {20, 60, 220}));
    std::ofstream(networks / "red.png", std::ios::binary).write(reinterpret_cast<const char*>(red.data()), std::streamsize(red.size()));
}
