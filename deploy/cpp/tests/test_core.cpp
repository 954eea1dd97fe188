// Hashing is the standard's.
#include <algorithm>

#include "check.h"
#include "sha256.h"

namespace {

/// The messages of one block, two blocks and a million letters of FIPS 180-4's examples, and the empty one; in parts of any size.
void hashes_are_those_of_the_standard() {
    const std::string million(1000000, 'a');
    const std::pair<std::string, const char*> vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (const auto& [text, expected] : vectors)
        for (size_t part : {1u, 7u, 64u, 100u, 1000000u}) {
            deploy::Sha256 hash;
            for (size_t i = 0; i < text.size(); i += part) hash.add(text.data() + i, std::min(part, text.size() - i));
            CHECK(hash.hex() == expected);
        }
}

}  // namespace

int main() {
    hashes_are_those_of_the_standard();
}
