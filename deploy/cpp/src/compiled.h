// Compiled networks kept in files, because compiling takes most of the time to the first answer.
#pragma once

#include <filesystem>
#include <map>
#include <openvino/openvino.hpp>
#include <optional>
#include <string>
#include <vector>

namespace deploy {

/// The section model_info of an IR.
using Notes = std::map<std::string, std::string>;

struct Compiled {
    ov::CompiledModel network;
    Notes notes;
};

/// The file of one network on this processor with this OpenVINO. What cannot be read, or is damaged, counts as not there.
class CompiledFile {
  public:
    /// content: what tells this network from all others, such as the hashes of its files.
    CompiledFile(ov::Core& core, const std::string& device, const std::string& content);

    /// Nothing where `folder` is empty.
    std::optional<Compiled> read(const std::filesystem::path& folder, const ov::AnyMap& properties) const;

    /// Appears whole or not at all; not where it may not be written. Of such files, the folder keeps the newest eight.
    void write(const std::filesystem::path& folder, Compiled compiled) const;

  private:
    ov::Core& core_;
    std::string device_, name_;
};

/// Where a user's programs keep such files: below $XDG_CACHE_HOME or ~/.cache; empty where there is neither.
std::string users_cache();

}  // namespace deploy
