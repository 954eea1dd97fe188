#include "model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "compiled.h"
#include "manifest.h"

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Kind = InputSpec::Kind;

const std::string EXPORT_AGAIN = " Export the run again with export_openvino.py.";

/// What a network says of itself.
struct Facts {
    const Notes& notes;
    std::vector<ov::Output<const ov::Node>> inputs, outputs;

    bool has(const std::string& key) const { return notes.count(key) > 0; }
};

std::string info(const Facts& facts, const std::string& key) {
    if (!facts.has(key)) throw std::runtime_error("its notes (model_info) lack '" + key + "'." + EXPORT_AGAIN);
    return facts.notes.at(key);
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
int side(const Facts& facts, const std::string& key) {
    auto text = info(facts, key);
    auto values = numbers(text, 1);
    if (values.empty() || values[0] != std::floor(values[0]) || values[0] < 8 || values[0] > 4096)
        refuse(key, text, "a whole number from 8 to 4096");
    return int(values[0]);
}

std::array<double, 3> three(const Facts& facts, const std::string& key, bool positive) {
    auto text = info(facts, key);
    auto values = numbers(text, 3);
    bool fits = !values.empty() && (!positive || *std::min_element(values.begin(), values.end()) > 0);
    if (!fits) refuse(key, text, positive ? "three numbers above 0" : "three numbers");
    return {values[0], values[1], values[2]};
}

bool is_true(const Facts& facts, const std::string& key) {
    auto text = info(facts, key);
    for (auto word : {"True", "true", "YES", "1"})
        if (text == word) return true;
    for (auto word : {"False", "false", "NO", "0"})
        if (text == word) return false;
    refuse(key, text, "True or False");
}

Kind kind_of(const Facts& facts) {
    if (facts.inputs.size() != 1 || facts.outputs.size() != 1)
        throw std::runtime_error("a classifier has one input and one output." + EXPORT_AGAIN);
    auto shape = facts.inputs[0].get_partial_shape();
    auto type = facts.inputs[0].get_element_type();
    if (shape.rank() == 4) {
        if (type == ov::element::f32 && shape[1].compatible(3) && shape[2].is_static() && shape[3] == shape[2]) return Kind::floats;
        if (type == ov::element::u8 && shape[3].compatible(3))
            return shape[1].is_dynamic() || shape[2].is_dynamic() ? Kind::picture : Kind::pixels;
    }
    throw std::runtime_error("its input is " + type.to_string() + " " + shape.to_string() +
                             "; f32 (N,3,S,S) and u8 (N,S,S,3) or (1,H,W,3) are understood." + EXPORT_AGAIN);
}

bool pads(const Facts& facts) {
    auto fit = info(facts, "input_fit");
    if (fit != "stretch" && fit != "pad") refuse("input_fit", fit, "stretch or pad");
    return fit == "pad";
}

/// Networks from before this note were trained on pictures in their own size.
size_t at_least(const Facts& facts) {
    const std::string key = "input_shrink_on_load";
    if (!facts.has(key)) return OWN_SIZE;
    auto text = info(facts, key);
    auto values = numbers(text, 1);
    if (values.empty() || values[0] != std::floor(values[0]) || values[0] < 0 || values[0] > 16) refuse(key, text, "a whole number from 0 to 16");
    return values[0] > 0 ? size_t(values[0]) * side(facts, "input_resize") : OWN_SIZE;
}

InputSpec input_spec(const Facts& facts) {
    InputSpec spec;
    spec.kind = kind_of(facts);
    spec.bgr = !is_true(facts, "reverse_input_channels");
    spec.pad = pads(facts);
    spec.at_least = at_least(facts);
    if (spec.kind == Kind::picture) {
        if (spec.pad) refuse("input_fit", "pad", "stretch, as a network that takes whole pictures can only stretch them");
        return spec;
    }
    spec.resize = side(facts, "input_resize");
    spec.image_size = side(facts, "input_image_size");
    auto size = facts.inputs[0].get_partial_shape()[2];
    if (spec.image_size > spec.resize || size != spec.image_size)
        throw std::runtime_error("its notes input_resize (" + std::to_string(spec.resize) + ") and input_image_size (" +
                                 std::to_string(spec.image_size) + ") do not go with its input of " + size.to_string() + " pixels." +
                                 EXPORT_AGAIN);
    if (spec.kind == Kind::floats) {
        spec.mean = three(facts, "mean_values", false);
        spec.scale = three(facts, "scale_values", true);
    }
    return spec;
}

/// labels.txt keeps blanks in names; model_info, where blanks part the names, does not.
std::vector<std::string> class_names(const Facts& facts, const fs::path& xml_path) {
    std::vector<std::string> names;
    std::string name;
    if (std::ifstream file{xml_path.parent_path() / "labels.txt"}) {
        while (std::getline(file, name)) {
            if (!name.empty() && name.back() == '\r') name.pop_back();
            if (!name.empty()) names.push_back(name);
        }
    } else {
        std::istringstream words(info(facts, "labels"));
        while (words >> name) names.push_back(name);
    }
    auto outputs = facts.outputs[0].get_partial_shape();
    if (outputs.rank() != 2 || outputs[1] != ov::Dimension(names.size()))
        throw std::runtime_error(std::to_string(names.size()) + " class names for an output of shape " + outputs.to_string() + "." + EXPORT_AGAIN);
    return names;
}

/// Networks that were exported without one have none.
float reject_below(const Facts& facts) {
    const std::string key = "confidence_threshold";
    if (!facts.has(key)) return 0;
    auto text = info(facts, key);
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

/// All of it but the compiled network.
Model describe(const Facts& facts, const fs::path& xml_path) {
    Model model;
    model.input = input_spec(facts);
    model.classes = class_names(facts, xml_path);
    model.reject_below = reject_below(facts);
    return model;
}

Notes notes_of(const ov::Model& network) {
    Notes notes;
    if (!network.has_rt_info("model_info")) return notes;
    for (const auto& [key, value] : network.get_rt_info<ov::AnyMap>("model_info"))
        if (!value.is<ov::AnyMap>()) notes[key] = value.as<std::string>();
    return notes;
}

/// For one picture at a time.
Model compile(ov::Core& core, const std::string& xml_path, const ModelSettings& settings, Notes& notes) {
    check_is_ir(xml_path);
    auto network = core.read_model(xml_path);
    notes = notes_of(*network);
    Model model = describe({notes, std::as_const(*network).inputs(), std::as_const(*network).outputs()}, xml_path);
    auto shape = network->input().get_partial_shape();
    shape[0] = 1;
    network->reshape(shape);
    model.compiled = core.compile_model(network, settings.device, properties(settings));
    return model;
}

/// content: the hashes of its files, by which what was compiled before is found; empty where nobody knows them.
Model load(const std::string& xml_path, const ModelSettings& settings, const std::string& content) {
    ov::Core core;
    Notes notes;
    if (content.empty() || settings.device != "CPU") return compile(core, xml_path, settings, notes);
    const CompiledFile file(core, settings.device, content);
    for (const fs::path& folder : {fs::path(xml_path).parent_path() / "compiled", fs::path(settings.cache)})
        if (auto found = file.read(folder, properties(settings))) {
            Model model = describe({found->notes, found->network.inputs(), found->network.outputs()}, xml_path);
            model.compiled = found->network;
            return model;
        }
    Model model = compile(core, xml_path, settings, notes);
    if (!settings.cache.empty()) file.write(settings.cache, {model.compiled, notes});
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
    auto manifest = check_manifest(xml_path);
    Model model;
    std::string failure;
    try {
        model = load(xml_path, settings, manifest.content);
    } catch (const ov::Exception& error) {
        failure = "damaged, or not for this OpenVINO (" + gist(error.what()) + ")." + EXPORT_AGAIN;
    } catch (const std::exception& error) {
        failure = error.what();
    }
    manifest.intact.get();  // what was damaged may well be why the network cannot be used
    if (!failure.empty()) throw std::runtime_error(xml_path + ": cannot be used on " + settings.device + ": " + failure);
    return model;
}

}  // namespace deploy
