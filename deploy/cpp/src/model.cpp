#include "model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <locale>
#include <sstream>
#include <stdexcept>

#include "manifest.h"

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Kind = InputSpec::Kind;

const std::string EXPORT_AGAIN = " Export the run again with export_openvino.py.";

/// One value of the IR's section model_info.
std::string info(const ov::Model& model, const std::string& key) {
    if (!model.has_rt_info("model_info", key)) throw std::runtime_error("its notes (model_info) lack '" + key + "'." + EXPORT_AGAIN);
    return model.get_rt_info<std::string>("model_info", key);
}

[[noreturn]] void refuse(const std::string& key, const std::string& value, const std::string& wanted) {
    throw std::runtime_error("its note '" + key + "' is '" + value + "', not " + wanted + "." + EXPORT_AGAIN);
}

/// Exactly `count` finite numbers with blanks between them, whatever the language settings of the process; else nothing.
std::vector<double> numbers(const std::string& text, size_t count) {
    std::istringstream words(text);
    words.imbue(std::locale::classic());
    std::vector<double> values;
    for (double value; words >> value;) values.push_back(value);
    bool finite = std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
    return words.eof() && finite && values.size() == count ? values : std::vector<double>();
}

/// In pixels. The range keeps a damaged note from asking for all memory.
int side(const ov::Model& model, const std::string& key) {
    auto text = info(model, key);
    auto values = numbers(text, 1);
    if (values.empty() || values[0] != std::floor(values[0]) || values[0] < 8 || values[0] > 4096)
        refuse(key, text, "a whole number from 8 to 4096");
    return int(values[0]);
}

std::array<double, 3> three(const ov::Model& model, const std::string& key, bool positive) {
    auto text = info(model, key);
    auto values = numbers(text, 3);
    bool fits = !values.empty() && (!positive || *std::min_element(values.begin(), values.end()) > 0);
    if (!fits) refuse(key, text, positive ? "three numbers above 0" : "three numbers");
    return {values[0], values[1], values[2]};
}

bool is_true(const ov::Model& model, const std::string& key) {
    auto text = info(model, key);
    for (auto word : {"True", "true", "YES", "1"})
        if (text == word) return true;
    for (auto word : {"False", "false", "NO", "0"})
        if (text == word) return false;
    refuse(key, text, "True or False");
}

Kind kind_of(const ov::Model& model) {
    if (model.inputs().size() != 1 || model.outputs().size() != 1)
        throw std::runtime_error("a classifier has one input and one output." + EXPORT_AGAIN);
    auto shape = model.input().get_partial_shape();
    auto type = model.input().get_element_type();
    if (shape.rank() == 4) {
        if (type == ov::element::f32 && shape[1].compatible(3) && shape[2].is_static() && shape[3] == shape[2]) return Kind::floats;
        if (type == ov::element::u8 && shape[3].compatible(3))
            return shape[1].is_dynamic() || shape[2].is_dynamic() ? Kind::picture : Kind::pixels;
    }
    throw std::runtime_error("its input is " + type.to_string() + " " + shape.to_string() +
                             "; f32 (N,3,S,S) and u8 (N,S,S,3) or (1,H,W,3) are understood." + EXPORT_AGAIN);
}

bool pads(const ov::Model& model) {
    auto fit = info(model, "input_fit");
    if (fit != "stretch" && fit != "pad") refuse("input_fit", fit, "stretch or pad");
    return fit == "pad";
}

InputSpec input_spec(const ov::Model& model) {
    InputSpec spec;
    spec.kind = kind_of(model);
    spec.bgr = !is_true(model, "reverse_input_channels");
    spec.pad = pads(model);
    if (spec.kind == Kind::picture) {
        if (spec.pad) refuse("input_fit", "pad", "stretch, as a network that takes whole pictures can only stretch them");
        return spec;
    }
    spec.resize = side(model, "input_resize");
    spec.image_size = side(model, "input_image_size");
    auto size = model.input().get_partial_shape()[2];
    if (spec.image_size > spec.resize || size != spec.image_size)
        throw std::runtime_error("its notes input_resize (" + std::to_string(spec.resize) + ") and input_image_size (" +
                                 std::to_string(spec.image_size) + ") do not go with its input of " + size.to_string() + " pixels." +
                                 EXPORT_AGAIN);
    if (spec.kind == Kind::floats) {
        spec.mean = three(model, "mean_values", false);
        spec.scale = three(model, "scale_values", true);
    }
    return spec;
}

/// labels.txt keeps blanks in names; model_info, where blanks part the names, does not.
std::vector<std::string> class_names(const ov::Model& model, const fs::path& xml_path) {
    std::vector<std::string> names;
    std::string name;
    if (std::ifstream file{xml_path.parent_path() / "labels.txt"}) {
        while (std::getline(file, name)) {
            if (!name.empty() && name.back() == '\r') name.pop_back();
            if (!name.empty()) names.push_back(name);
        }
    } else {
        std::istringstream words(info(model, "labels"));
        while (words >> name) names.push_back(name);
    }
    auto outputs = model.output().get_partial_shape();
    if (outputs.rank() != 2 || outputs[1] != ov::Dimension(names.size()))
        throw std::runtime_error(std::to_string(names.size()) + " class names for an output of shape " + outputs.to_string() + "." + EXPORT_AGAIN);
    return names;
}

/// Networks that were exported without one have none.
float reject_below(const ov::Model& model) {
    const std::string key = "confidence_threshold";
    if (!model.has_rt_info("model_info", key)) return 0;
    auto text = info(model, key);
    auto values = numbers(text, 1);
    if (values.empty() || values[0] < 0 || values[0] > 1) refuse(key, text, "a number from 0 to 1");
    return float(values[0]);
}

ov::AnyMap properties(const ModelSettings& settings) {
    ov::AnyMap map{ov::hint::performance_mode(settings.hint)};
    if (settings.device == "CPU") {
        map.insert(ov::hint::inference_precision(ov::element::f32));  // some CPUs would compute FP32 networks in bf16
        if (settings.threads > 0) map.insert(ov::inference_num_threads(settings.threads));
    }
    return map;
}

/// OpenVINO tries half a dozen other formats where it does not see its own.
void check_is_ir(const std::string& xml_path) {
    std::string head(1024, '\0');
    std::ifstream(xml_path, std::ios::binary).read(head.data(), std::streamsize(head.size()));
    if (head.find("<net ") == std::string::npos || head.find(" version=\"") == std::string::npos)
        throw std::runtime_error("it is no IR of OpenVINO." + EXPORT_AGAIN);
}

Model load(const std::string& xml_path, const ModelSettings& settings) {
    check_is_ir(xml_path);
    ov::Core core;
    auto network = core.read_model(xml_path);
    Model model;
    model.input = input_spec(*network);
    model.classes = class_names(*network, xml_path);
    model.reject_below = reject_below(*network);
    auto shape = network->input().get_partial_shape();
    shape[0] = 1;
    network->reshape(shape);
    model.compiled = core.compile_model(network, settings.device, properties(settings));
    return model;
}

/// The last line of a message of OpenVINO's: those before it say where in its source it was thrown.
std::string gist(const std::string& message) {
    std::istringstream lines(message);
    std::string last;
    for (std::string line; std::getline(lines, line);)
        if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
    return last;
}

}  // namespace

Model load_model(const std::string& xml_path, const ModelSettings& settings) {
    for (fs::path path : {fs::path(xml_path), fs::path(xml_path).replace_extension(".bin")})
        if (!fs::is_regular_file(path))
            throw std::runtime_error(path.string() + ": no such file. An IR is model.xml with model.bin beside it; "
                                     "export_openvino.py writes both.");
    auto intact = check_manifest(xml_path);
    Model model;
    std::string failure;
    try {
        model = load(xml_path, settings);
    } catch (const ov::Exception& error) {
        failure = "damaged, or not for this OpenVINO (" + gist(error.what()) + ")." + EXPORT_AGAIN;
    } catch (const std::exception& error) {
        failure = error.what();
    }
    intact.get();  // what was damaged may well be why the network cannot be used
    if (!failure.empty()) throw std::runtime_error(xml_path + ": cannot be used on " + settings.device + ": " + failure);
    return model;
}

}  // namespace deploy
