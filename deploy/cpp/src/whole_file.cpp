#include "whole_file.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

namespace deploy {
namespace {

namespace fs = std::filesystem;

const std::string START = ".classify.", END = ".tmp";  // of the names until a file is whole

bool is_leftover(const std::string& name) {
    return name.rfind(START, 0) == 0 && name.size() > START.size() + END.size() && name.compare(name.size() - END.size(), END.size(), END) == 0;
}

}  // namespace

void write_whole(const fs::path& path, std::initializer_list<std::string_view> parts) {
    static std::atomic<unsigned> number{0};
    const fs::path temporary = path.parent_path() / (START + std::to_string(getpid()) + "." + std::to_string(number++) + END);
    std::error_code failure;
    errno = 0;
    std::ofstream file(temporary, std::ios::binary);
    for (auto part : parts) file.write(part.data(), std::streamsize(part.size()));
    file.close();
    std::string reason = file ? "" : std::strerror(errno);
    if (reason.empty()) fs::rename(temporary, path, failure);
    if (failure) reason = failure.message();
    if (reason.empty()) return;
    fs::remove(temporary, failure);
    throw std::runtime_error(reason);
}

void remove_leftovers(const fs::path& folder) {
    std::error_code gone;  // other programs may do the same at once
    const auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
    for (const auto& entry : fs::directory_iterator(folder))
        if (is_leftover(entry.path().filename()) && fs::last_write_time(entry.path(), gone) < old) fs::remove(entry.path(), gone);
}

}  // namespace deploy
