#include "ji_config.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const std::string MARK_TEXT = "mark_text_";
const int MAX_DEPTH = 16;  // deeper values would cost stack

[[noreturn]] void refuse(const std::string& key, const std::string& what) { throw std::runtime_error("'" + key + "' " + what); }

/// The folder above that of this library: the working directory is the platform's.
fs::path home() {
    Dl_info facts;
    if (!dladdr(reinterpret_cast<void*>(&read_ji_config), &facts) || !facts.dli_fname)
        throw std::runtime_error("libji.so: cannot find out where this library lies.");
    return fs::canonical(facts.dli_fname).parent_path().parent_path();
}

/// A JSON object. Of two keys of one name either might be meant.
Json parse_object(const std::string& text) {
    std::vector<std::set<std::string>> keys;  // of the objects that are open
    auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
        if (depth > MAX_DEPTH) throw std::runtime_error("more than " + std::to_string(MAX_DEPTH) + " levels of JSON");
        if (event == Json::parse_event_t::object_start) keys.emplace_back();
        if (event == Json::parse_event_t::object_end) keys.pop_back();
        if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
            refuse(value.get<std::string>(), "is there twice");
        return true;
    };
    Json object = Json::parse(text, watch);
    if (!object.is_object()) throw std::runtime_error("not a JSON object");
    return object;
}

size_t whole_number(const std::string& key, const Json& value, size_t lowest, size_t highest) {
    double number = value.is_number() ? value.get<double>() : -1;
    if (number != std::floor(number) || number < lowest || number > highest)
        refuse(key, "is no whole number from " + std::to_string(lowest) + " to " + std::to_string(highest));
    return size_t(number);
}

float probability(const std::string& key, const Json& value) {
    double number = value.is_number() ? value.get<double>() : -1;
    if (!(number >= 0 && number <= 1)) refuse(key, "is no number from 0 to 1");
    return float(number);
}

bool truth(const std::string& key, const Json& value) {
    if (!value.is_boolean()) refuse(key, "is not true or false");
    return value;
}

std::string text(const std::string& key, const Json& value) {
    if (!value.is_string()) refuse(key, "is no text");
    return value;
}

std::vector<std::string> texts(const std::string& key, const Json& value) {
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_string(); }))
        refuse(key, "is no list of texts");
    return value;
}

bool is_plain(const std::string& key) {
    return !key.empty() && key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

/// The platform's rule for keys; and a misspelt placeholder would be answered as it stands.
void check_template(const Json& value) {
    static const std::set<std::string> placeholders{"$class", "$confidence", "$probabilities", "$is_alert"};
    if (value.is_string() && value.get_ref<const std::string&>()[0] == '$' && !placeholders.count(value))
        refuse("answer", "holds '" + value.get<std::string>() + "', but only $class, $confidence, $probabilities and $is_alert are known");
    if (value.is_object())
        for (const auto& item : value.items())
            if (!is_plain(item.key()))
                refuse("answer", "has the key '" + item.key() + "', but keys are lower-case letters, digits and underscores");
    if (value.is_structured())
        for (const auto& part : value) check_template(part);
}

/// Is `key` one that may be another for each call? A misspelt one would silently leave its value as it was.
bool read_setting(const std::string& key, const Json& value, JiSettings& settings) {
    if (key == "max_pixels")
        settings.max_pixels = whole_number(key, value, 1, 1 << 30);
    else if (key == "reject")
        settings.reject_below = probability(key, value);
    else if (key == "alert_classes")
        settings.alert_classes = texts(key, value);
    else if (key == "draw_result")
        settings.draw_result = truth(key, value);
    else if (key == "draw_confidence")
        settings.draw_confidence = truth(key, value);
    else if (key == "language")
        settings.language = text(key, value);
    else if (key.rfind(MARK_TEXT, 0) == 0)
        settings.class_texts[key.substr(MARK_TEXT.size())] = texts(key, value);
    else if (key == "answer")
        check_template(settings.answer = value);
    else
        return false;
    return true;
}

void read_config(const Json& config, JiConfig& result) {
    for (const auto& [key, value] : config.items()) {
        if (key == "model")
            result.model = text(key, value);
        else if (key == "threads")
            result.threads = int(whole_number(key, value, 0, 1024));
        else if (key == "cache")
            result.cache = text(key, value);
        else if (!read_setting(key, value, result.settings))
            throw std::runtime_error("unknown key '" + key + "'");
    }
}

void check_settings(const JiSettings& settings, const std::vector<std::string>& classes) {
    for (const auto& name : settings.alert_classes)
        if (std::find(classes.begin(), classes.end(), name) == classes.end())
            refuse("alert_classes", "names '" + name + "', which is no class of the network");
    for (const auto& [language, names] : settings.class_texts)
        if (names.size() != classes.size() + 1 || std::set<std::string>(names.begin(), names.end()).size() != names.size())
            refuse(MARK_TEXT + language, "needs " + std::to_string(classes.size() + 1) +
                                             " names that differ: of the classes, in the order of labels.txt, then the word for unknown");
    if (!settings.language.empty() && !settings.class_texts.count(settings.language))
        refuse("language", "is '" + settings.language + "', but there is no '" + MARK_TEXT + settings.language + "'");
}

fs::path config_file() { return home() / "config" / "algo_config.json"; }

/// `action`, whose exceptions then say where.
template <typename Action>
void within_config(Action action) {
    try {
        action();
    } catch (const std::exception& error) {
        throw std::runtime_error(config_file().string() + ": " + error.what() + ". See ji.h for what it may hold.");
    }
}

}  // namespace

JiConfig read_ji_config() {
    JiConfig result;
    result.model = "model.xml";
    within_config([&] {
        std::ifstream file(config_file());
        if (file)
            read_config(parse_object({std::istreambuf_iterator<char>(file), {}}), result);
        else if (fs::exists(config_file()))
            throw std::runtime_error("cannot be read");
        else if (fs::exists(config_file().replace_filename("config.json")))
            throw std::runtime_error("is not there, but config.json, its old name, is. Name it anew");
    });
    result.model = home() / "model" / result.model;
    return result;
}

void check_config(const JiConfig& config, const std::vector<std::string>& classes) {
    within_config([&] { check_settings(config.settings, classes); });
}

JiSettings changed(JiSettings settings, const char* args, const std::vector<std::string>& classes) {
    try {
        const Json object = parse_object(args);
        for (const auto& [key, value] : object.items()) {
            if (key == "model" || key == "threads" || key == "cache") refuse(key, "cannot change from call to call; it belongs into algo_config.json");
            if (!read_setting(key, value, settings)) throw std::runtime_error("unknown key '" + key + "'");
        }
        check_settings(settings, classes);
    } catch (const std::exception& error) {
        throw ArgsError(std::string("args: ") + error.what() + ". See ji.h for what they may hold.");
    }
    return settings;
}

}  // namespace deploy
