#include "ji_config.h"

#include <dlfcn.h>

#include <cmath>
#include <fstream>
#include <set>
#include <stdexcept>

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The folder above that of this library: the working directory is the platform's.
fs::path home() {
    Dl_info facts;
    if (!dladdr(reinterpret_cast<void*>(&read_ji_config), &facts) || !facts.dli_fname)
        throw std::runtime_error("libji.so: cannot find out where this library lies.");
    return fs::canonical(facts.dli_fname).parent_path().parent_path();
}

/// A misspelt key would silently leave its value as it was.
void check_keys(const Json& object, const std::set<std::string>& known) {
    for (const auto& [key, value] : object.items())
        if (!known.count(key)) throw std::runtime_error("unknown key '" + key + "'");
}

void read(const Json& object, const char* key, std::string& value) { value = object.value(key, value); }

double whole_number(const Json& config, const std::string& key, double preset, double lowest, double highest) {
    double value = config.value(key, preset);
    if (value != std::floor(value) || value < lowest || value > highest)
        throw std::runtime_error("'" + key + "' is no whole number from " + std::to_string(int(lowest)) + " to " +
                                 std::to_string(int(highest)));
    return value;
}

std::optional<float> probability(const Json& config, const std::string& key) {
    if (!config.contains(key)) return {};
    double value = config.at(key);
    if (!(value >= 0 && value <= 1)) throw std::runtime_error("'" + key + "' is no number from 0 to 1");
    return float(value);
}

void read_config(const Json& config, const fs::path& models, JiConfig& result) {
    if (!config.is_object()) throw std::runtime_error("not a JSON object");
    check_keys(config, {"model", "threads", "max_pixels", "reject", "keys"});
    result.model = models / config.value("model", "model.xml");
    result.threads = int(whole_number(config, "threads", result.threads, 0, 1024));
    result.max_pixels = size_t(whole_number(config, "max_pixels", result.max_pixels, 1, 1 << 30));
    result.reject_below = probability(config, "reject");
    auto keys = config.value("keys", Json::object());
    check_keys(keys, {"class", "confidence", "probabilities"});
    read(keys, "class", result.keys.name);
    read(keys, "confidence", result.keys.confidence);
    read(keys, "probabilities", result.keys.probabilities);
}

}  // namespace

JiConfig read_ji_config() {
    JiConfig result;
    fs::path path = home() / "config" / "config.json";
    try {
        Json config = Json::object();
        if (std::ifstream file{path}) config = Json::parse(file);
        read_config(config, home() / "model", result);
    } catch (const std::exception& error) {
        throw std::runtime_error(path.string() + ": " + error.what() + ". See ji.h for what it may hold.");
    }
    return result;
}

}  // namespace deploy
