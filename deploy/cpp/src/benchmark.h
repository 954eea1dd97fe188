// How fast each part is on given pictures, and all of it together.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace deploy {

struct BenchmarkSettings {
    std::string model, device;
    int threads;   // of inference, 0: all cores
    int decoders;  // decoding threads
    size_t max_pixels;
    double seconds;
};

struct Benchmark {
    size_t pictures, inferences_at_a_time;
    // One picture at a time (latency hint), milliseconds: means of the parts, percentiles of the whole.
    double decode_ms, preprocess_ms, infer_ms, latency_p50_ms, latency_p99_ms, infer_p50_ms, infer_p99_ms;
    // Many at a time (throughput hint), pictures a second.
    double decode_only, preprocess_only, infer_only, end_to_end;
};

/// Throws std::runtime_error if not one of the pictures can be read; those that cannot are left out.
Benchmark run_benchmark(const BenchmarkSettings& settings, const std::vector<std::string>& paths);

void print_benchmark(std::ostream& out, const Benchmark& result, bool as_json);

}  // namespace deploy
