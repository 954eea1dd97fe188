// What the user names -> the list of pictures.
#pragma once

#include <string>
#include <vector>

namespace deploy {

/// A folder becomes all files below it, sorted, without hidden files, texts and what systems leave (as in data/listing.py); a .txt
/// file the paths in it, see `read_list`; anything else is a picture, to be judged by decoding. Throws std::runtime_error, also where
/// there is nothing in a folder or list.
std::vector<std::string> list_pictures(const std::vector<std::string>& named);

/// The paths in a text file (UTF-8), one a line, relative to the working directory. Throws std::runtime_error.
std::vector<std::string> read_list(const std::string& path);

}  // namespace deploy
