#include "compiled.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sha256.h"

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const size_t KEPT = 8;         // files in a folder
const size_t ALIGNMENT = 4096;  // of the compiled network in its file, behind a line of JSON filled up with blanks
const char* const SUFFIX = ".compiled";

std::string hash_of(const void* data, size_t size) {
    Sha256 hash;
    hash.add(data, size);
    return hash.hex();
}

/// Compiled for another processor or by another OpenVINO, a network may not run, or not as fast as it could.
std::string name_of(ov::Core& core, const std::string& device, const std::string& content) {
    std::ostringstream text;
    text << "1\n" << content << '\n' << ov::get_openvino_version().buildNumber << '\n' << core.get_property(device, ov::device::full_name);
    for (const auto& capability : core.get_property(device, ov::device::capabilities)) text << ' ' << capability;
    return hash_of(text.str().data(), text.str().size()).substr(0, 32) + SUFFIX;
}

std::vector<fs::path> compiled_files(const fs::path& folder) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().extension() == SUFFIX) found.push_back(entry.path());
    return found;
}

/// Other programs may do the same at once: what is gone is gone.
void remove_oldest(const fs::path& folder) {
    std::vector<std::pair<fs::file_time_type, fs::path>> files;
    std::error_code gone;
    for (const auto& path : compiled_files(folder)) files.emplace_back(fs::last_write_time(path, gone), path);
    std::sort(files.rbegin(), files.rend());
    for (size_t i = KEPT; i < files.size(); ++i) fs::remove(files[i].second, gone);
}

}  // namespace

CompiledFile::CompiledFile(ov::Core& core, const std::string& device, const std::string& content)
    : core_(core), device_(device), name_(name_of(core, device, content)) {}

std::optional<Compiled> CompiledFile::read(const fs::path& folder, const ov::AnyMap& properties) const {
    try {
        const fs::path path = folder / name_;
        std::string line;
        if (std::ifstream file{path}; !std::getline(file, line)) return {};
        const Json head = Json::parse(line);
        const auto blob = ov::read_tensor_data(path, ov::element::u8, ov::PartialShape::dynamic(1), line.size() + 1);
        if (hash_of(blob.data(), blob.get_byte_size()) != head.at("sha256")) return {};
        return Compiled{core_.import_model(blob, device_, properties), head.at("notes").get<Notes>()};
    } catch (const std::exception&) {
        return {};
    }
}

void CompiledFile::write(const fs::path& folder, Compiled compiled) const {
    const fs::path temporary = folder / ("." + name_ + "." + std::to_string(getpid()) + ".tmp");
    std::error_code ignored;
    try {
        std::ostringstream stream;
        compiled.network.export_model(stream);
        const std::string blob = stream.str();
        std::string head = Json{{"sha256", hash_of(blob.data(), blob.size())}, {"notes", compiled.notes}}.dump();
        head.resize((head.size() / ALIGNMENT + 1) * ALIGNMENT, ' ');
        head.back() = '\n';
        fs::create_directories(folder);
        std::ofstream file(temporary, std::ios::binary);
        file << head << blob;
        file.close();
        if (!file) throw std::runtime_error("");
        fs::rename(temporary, folder / name_);
        remove_oldest(folder);
    } catch (const std::exception&) {
        fs::remove(temporary, ignored);
    }
}

std::string users_cache() {
    const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
    if (cache && *cache == '/') return std::string(cache) + "/classify";
    return home && *home == '/' ? std::string(home) + "/.cache/classify" : "";
}

}  // namespace deploy
