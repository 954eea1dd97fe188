#include "model.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Kind = InputSpec::Kind;

const std::string EXPORT_AGAIN = " Export the run again with export_openvino.py.";

/// One value of the IR's section model_info.
std::string info(const ov::Model& model, const std::string& key) {
    if (!model.has_rt_info("model_info", key)) throw std::runtime_error("its model_info lacks '" + key + "'." + EXPORT_AGAIN);
    return model.get_rt_info<std::string>("model_info", key);
}

int positive(const ov::Model& model, const std::string& key) {
    std::istringstream text(info(model, key));
    int value = 0;
    if (!(text >> value) || value <= 0) throw std::runtime_error("'" + key + "' is no positive number: '" + text.str() + "'." + EXPORT_AGAIN);
    return value;
}

std::array<double, 3> three(const ov::Model& model, const std::string& key) {
    std::istringstream text(info(model, key));
    std::array<double, 3> values;
    if (!(text >> values[0] >> values[1] >> values[2]))
        throw std::runtime_error("'" + key + "' is not three numbers: '" + text.str() + "'." + EXPORT_AGAIN);
    return values;
}

bool is_true(const std::string& text) { return text == "True" || text == "true" || text == "YES" || text == "1"; }

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
    std::ostringstream what;
    what << "its input is " << type << " " << shape << "; f32 (N,3,S,S) and u8 (N,S,S,3) or (1,H,W,3) are understood." << EXPORT_AGAIN;
    throw std::runtime_error(what.str());
}

/// IRs from before there was a choice stretch.
bool pads(const ov::Model& model) {
    if (!model.has_rt_info("model_info", "input_fit")) return false;
    auto fit = info(model, "input_fit");
    if (fit != "stretch" && fit != "pad") throw std::runtime_error("'input_fit' is neither stretch nor pad: '" + fit + "'." + EXPORT_AGAIN);
    return fit == "pad";
}

InputSpec input_spec(const ov::Model& model) {
    InputSpec spec;
    spec.kind = kind_of(model);
    spec.bgr = !is_true(info(model, "reverse_input_channels"));
    if (spec.kind == Kind::picture) return spec;
    spec.resize = positive(model, "input_resize");
    spec.image_size = positive(model, "input_image_size");
    spec.pad = pads(model);
    auto size = model.input().get_partial_shape()[2];
    if (spec.image_size > spec.resize || size != spec.image_size)
        throw std::runtime_error("input_resize, input_image_size and the network's input size contradict each other." + EXPORT_AGAIN);
    if (spec.kind == Kind::floats) {
        spec.mean = three(model, "mean_values");
        spec.scale = three(model, "scale_values");
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
    if (outputs.rank() != 2 || outputs[1] != ov::Dimension(names.size())) {
        std::ostringstream what;
        what << names.size() << " class names for an output of shape " << outputs << "." << EXPORT_AGAIN;
        throw std::runtime_error(what.str());
    }
    return names;
}

ov::AnyMap properties(const ModelSettings& settings) {
    ov::AnyMap map{ov::hint::performance_mode(settings.hint)};
    if (settings.device == "CPU") {
        map.insert(ov::hint::inference_precision(ov::element::f32));  // some CPUs would compute FP32 networks in bf16
        if (settings.threads > 0) map.insert(ov::inference_num_threads(settings.threads));
    }
    return map;
}

Model load(const std::string& xml_path, const ModelSettings& settings) {
    ov::Core core;
    auto network = core.read_model(xml_path);
    Model model;
    model.input = input_spec(*network);
    model.classes = class_names(*network, xml_path);
    auto shape = network->input().get_partial_shape();
    shape[0] = 1;
    network->reshape(shape);
    model.compiled = core.compile_model(network, settings.device, properties(settings));
    return model;
}

}  // namespace

Model load_model(const std::string& xml_path, const ModelSettings& settings) {
    for (fs::path path : {fs::path(xml_path), fs::path(xml_path).replace_extension(".bin")})
        if (!fs::is_regular_file(path))
            throw std::runtime_error(path.string() + ": no such file. An IR is model.xml with model.bin beside it; "
                                     "export_openvino.py writes both.");
    try {
        return load(xml_path, settings);
    } catch (const std::exception& error) {
        throw std::runtime_error(xml_path + ": cannot be used on " + settings.device + ": " + error.what());
    }
}

}  // namespace deploy
