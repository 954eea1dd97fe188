// The bytes of a file, and a view of some of them that cannot be read beyond its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace deploy {

using Bytes = std::vector<unsigned char>;

struct Span {
    const unsigned char* data = nullptr;
    size_t size = 0;

    Span() = default;
    Span(const unsigned char* data, size_t size) : data(data), size(size) {}
    Span(const Bytes& bytes) : Span(bytes.data(), bytes.size()) {}

    bool starts_with(std::string_view text) const { return size >= text.size() && std::memcmp(data, text.data(), text.size()) == 0; }
    Span from(size_t offset) const { return offset < size ? Span(data + offset, size - offset) : Span(data, 0); }
    Span first(size_t length) const { return {data, length < size ? length : size}; }

    /// The unsigned number in `bytes` bytes at `offset`; 0 beyond the end.
    uint32_t number(size_t offset, size_t bytes, bool big_endian) const {
        if (offset > size || size - offset < bytes) return 0;
        uint32_t value = 0;
        for (size_t i = 0; i < bytes; ++i) value = value << 8 | data[offset + (big_endian ? i : bytes - 1 - i)];
        return value;
    }
    uint32_t big(size_t offset, size_t bytes) const { return number(offset, bytes, true); }
    uint32_t little(size_t offset, size_t bytes) const { return number(offset, bytes, false); }
};

}  // namespace deploy
