// Pixels in memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

namespace deploy {

using Byte = unsigned char;
using Pixel = std::array<Byte, 3>;  // B, G, R

inline Pixel grey_pixel(Byte value) { return {value, value, value}; }

/// 8-bit BGR, row after row without gaps.
class Image {
  public:
    int rows = 0, cols = 0;

    Image() = default;
    Image(int height, int width, Pixel color) {
        create(height, width);
        fill(color);
    }
    Image(const Image& other) { *this = other; }
    Image(Image&& other) noexcept { swap(other); }
    Image& operator=(const Image& other) {
        if (this == &other) return *this;
        create(other.rows, other.cols);
        std::copy_n(other.data(), size(), data());
        return *this;
    }
    Image& operator=(Image&& other) noexcept {
        swap(other);
        return *this;
    }

    /// Memory is used again where it suffices, unless most of it would lie idle. What the pixels hold then is left open.
    void create(int height, int width) {
        const size_t needed = size_t(height) * width * 3;
        if (needed > capacity_ || needed < capacity_ / 64) {
            memory_.reset();
            capacity_ = 0;
            rows = cols = 0;
            memory_.reset(new Byte[needed + 1]);  // one more, so that each pixel can be read as four bytes
            capacity_ = needed;
        }
        rows = height;
        cols = width;
    }

    void fill(Pixel color) { std::fill_n(&at(0, 0), size_t(rows) * cols, color); }

    size_t size() const { return size_t(rows) * cols * 3; }
    Byte* data() { return memory_.get(); }
    const Byte* data() const { return memory_.get(); }
    Byte* ptr(int y, int x = 0) { return data() + (size_t(y) * cols + x) * 3; }
    const Byte* ptr(int y, int x = 0) const { return data() + (size_t(y) * cols + x) * 3; }
    Pixel& at(int y, int x) { return *reinterpret_cast<Pixel*>(ptr(y, x)); }
    const Pixel& at(int y, int x) const { return *reinterpret_cast<const Pixel*>(ptr(y, x)); }

  private:
    void swap(Image& other) noexcept {
        std::swap(rows, other.rows);
        std::swap(cols, other.cols);
        std::swap(capacity_, other.capacity_);
        memory_.swap(other.memory_);
    }

    std::unique_ptr<Byte[]> memory_;
    size_t capacity_ = 0;
};

}  // namespace deploy
