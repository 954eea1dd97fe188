// Files that appear whole or not at all.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <string_view>

namespace deploy {

/// Writes `parts` beside `path`, then gives that file its name. Throws std::runtime_error with the reason, and leaves nothing.
void write_whole(const std::filesystem::path& path, std::initializer_list<std::string_view> parts);

/// Removes what programs that were killed left there of such files, an hour ago or earlier.
void remove_leftovers(const std::filesystem::path& folder);

}  // namespace deploy
