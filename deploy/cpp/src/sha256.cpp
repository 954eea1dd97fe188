#include "sha256.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace deploy {
namespace {

const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

uint32_t rotate(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

#if defined(__x86_64__)
/// Bit 29 of EBX, leaf 7.
bool has_instructions() {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

/// A processor's own instructions for it, some seven times as fast. They want the state as two vectors, ABEF and CDGH, and do two rounds
/// of each four words at a time.
__attribute__((target("sha,sse4.1"))) void add_block_by_instructions(std::array<uint32_t, 8>& s, const unsigned char* block) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abef = _mm_set_epi32(int(s[0]), int(s[1]), int(s[4]), int(s[5])), cdgh = _mm_set_epi32(int(s[2]), int(s[3]), int(s[6]), int(s[7]));
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i words[4];  // the last sixteen of the message's
    for (int t = 0; t < 16; ++t) {
        __m128i& w = words[t % 4];
        const __m128i &next = words[(t + 1) % 4], &last = words[(t + 3) % 4];
        if (t < 4)
            w = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + t), swap);
        else
            w = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w, next), _mm_alignr_epi8(last, words[(t + 2) % 4], 4)), last);
        const __m128i sums = _mm_add_epi32(w, _mm_loadu_si128(reinterpret_cast<const __m128i*>(K) + t));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sums);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sums, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
    alignas(16) uint32_t x[4], y[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(x), abef);
    _mm_store_si128(reinterpret_cast<__m128i*>(y), cdgh);
    s = {x[3], x[2], y[3], y[2], x[1], x[0], y[1], y[0]};
}
#endif

}  // namespace

void Sha256::add(const void* data, size_t size) {
    auto* bytes = static_cast<const unsigned char*>(data);
    size_t filled = size_ % 64;
    size_ += size;
    if (filled > 0) {
        size_t part = std::min(size, 64 - filled);
        std::memcpy(buffer_.data() + filled, bytes, part);
        bytes += part;
        size -= part;
        if (filled + part < 64) return;
        add_block(buffer_.data());
    }
    for (; size >= 64; bytes += 64, size -= 64) add_block(bytes);
    if (size > 0) std::memcpy(buffer_.data(), bytes, size);
}

std::string Sha256::hex() {
    const uint64_t bits = 8 * size_;
    const unsigned char one = 0x80, zero = 0;
    add(&one, 1);
    while (size_ % 64 != 56) add(&zero, 1);
    unsigned char length[8];
    for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(bits >> (56 - 8 * i));
    add(length, 8);
    std::string text;
    for (uint32_t word : state_)
        for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
    return text;
}

void Sha256::add_block(const unsigned char* block) {
#if defined(__x86_64__)
    static const bool fast = has_instructions();
    if (fast) return add_block_by_instructions(state_, block);
#endif
    uint32_t w[64];
    for (int t = 0; t < 16; ++t) w[t] = uint32_t(block[4 * t]) << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 64; ++t) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (int t = 0; t < 64; ++t) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t sums[] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) state_[i] += sums[i];
}

}  // namespace deploy
