#include "benchmark.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iomanip>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "pipeline.h"
#include "pool.h"

namespace deploy {
namespace {

using Clock = std::chrono::steady_clock;
using Paths = std::vector<std::string>;

const size_t ANY = SIZE_MAX;  // number of pixels: too large pictures are left out before anything is measured

double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

double mean(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0) / values.size(); }

double percentile(std::vector<double> values, double share) {
    auto place = values.begin() + size_t(share * (values.size() - 1) + 0.5);
    std::nth_element(values.begin(), place, values.end());
    return *place;
}

/// Also warms the page cache, so that no measurement waits for the disk.
Paths readable(const Paths& paths, size_t max_pixels) {
    Paths good;
    Bytes content;
    Image bgr;
    for (const auto& path : paths) {
        try {
            read_file(path, content);
            decode(content, bgr, max_pixels);
            good.push_back(path);
        } catch (const PictureError&) {
        }
    }
    if (good.empty()) throw std::runtime_error("not one of " + std::to_string(paths.size()) + " files is a picture: nothing to measure.");
    return good;
}

void measure_latency(Model& model, const Paths& paths, double seconds, Benchmark& result) {
    auto request = model.compiled.create_infer_request();
    Preprocess preprocess(model.input);
    Bytes content;
    Image bgr;
    std::vector<double> decode_ms, preprocess_ms, infer_ms, all_ms;
    auto one = [&](const std::string& path) {
        auto start = Clock::now();
        read_file(path, content);
        decode(content, bgr, ANY);
        double decoded = ms_since(start);
        preprocess(bgr, request);
        double preprocessed = ms_since(start);
        request.infer();
        auto logits = request.get_output_tensor();
        answer_of(logits.data<float>(), logits.get_size());
        double all = ms_since(start);
        decode_ms.push_back(decoded);
        preprocess_ms.push_back(preprocessed - decoded);
        infer_ms.push_back(all - preprocessed);
        all_ms.push_back(all);
    };
    for (size_t i = 0; i < 10; ++i) one(paths[i % paths.size()]);
    for (auto* values : {&decode_ms, &preprocess_ms, &infer_ms, &all_ms}) values->clear();
    auto start = Clock::now();
    for (size_t i = 0; i == 0 || ms_since(start) < 1000 * seconds; ++i) one(paths[i % paths.size()]);
    result.decode_ms = mean(decode_ms);
    result.preprocess_ms = mean(preprocess_ms);
    result.infer_ms = mean(infer_ms);
    result.latency_p50_ms = percentile(all_ms, 0.5);
    result.latency_p99_ms = percentile(all_ms, 0.99);
    result.infer_p50_ms = percentile(infer_ms, 0.5);
    result.infer_p99_ms = percentile(infer_ms, 0.99);
}

/// How often a second all threads together do what `make_work()` makes for each of them.
template <typename MakeWork>
double rate_on_threads(int num_threads, double seconds, MakeWork make_work) {
    std::atomic<size_t> done{0};
    auto start = Clock::now();
    std::vector<std::thread> threads;
    for (int i = 0; i < num_threads; ++i)
        threads.emplace_back([&] {
            for (auto work = make_work(); ms_since(start) < 1000 * seconds;) work(done++);
        });
    for (auto& thread : threads) thread.join();
    return 1000 * done / ms_since(start);
}

double decode_rate(const Paths& paths, int num_threads, double seconds) {
    return rate_on_threads(num_threads, seconds, [&] {
        return [&paths, content = Bytes(), bgr = Image()](size_t i) mutable {
            read_file(paths[i % paths.size()], content);
            decode(content, bgr, ANY);
        };
    });
}

double preprocess_rate(Model& model, const Paths& paths, int num_threads, double seconds) {
    return rate_on_threads(num_threads, seconds, [&] {
        Bytes content;
        Image bgr;
        read_file(paths[0], content);
        decode(content, bgr, ANY);
        return [bgr, preprocess = Preprocess(model.input), request = model.compiled.create_infer_request()](size_t) mutable {
            preprocess(bgr, request);
        };
    });
}

/// The same loop as OpenVINO's benchmark_app: as many requests as suit the device, each begun again when it is done.
double infer_rate(Model& model, const Paths& paths, size_t num_requests, double seconds) {
    Pool<Request*> idle;
    std::vector<std::unique_ptr<Request>> requests;
    for (size_t i = 0; i < num_requests; ++i) {
        auto* request = requests.emplace_back(std::make_unique<Request>(model, ANY)).get();
        request->load_file(paths[i % paths.size()]);
        request->infer();
        request->on_done([&idle, request](std::exception_ptr) { idle.put(request); });
        idle.put(request);
    }
    auto start = Clock::now();
    size_t started = 0;
    for (; started == 0 || ms_since(start) < 1000 * seconds; ++started) idle.take()->start();
    for (size_t i = 0; i < num_requests; ++i) idle.take();
    return 1000 * started / ms_since(start);
}

double end_to_end_rate(Model& model, const Paths& paths, int decoders, double seconds) {
    size_t next = 0, done = 0;
    auto start = Clock::now();
    auto source = [&]() -> std::optional<std::string> {
        if (next > 0 && ms_since(start) >= 1000 * seconds) return {};
        return paths[next++ % paths.size()];
    };
    classify_all(model, decoders, ANY, source, [&](const Result& result) {
        if (!result.answer) throw std::runtime_error(result.path + ": " + result.error);
        ++done;
    });
    return 1000 * done / ms_since(start);
}

void print_table(std::ostream& out, const Benchmark& b) {
    out << std::fixed << std::setprecision(3) << b.pictures << " pictures\n"
        << "one at a time (ms)   decode " << b.decode_ms << ", pre-process " << b.preprocess_ms << ", infer " << b.infer_ms << '\n'
        << "  end to end         p50 " << b.latency_p50_ms << ", p99 " << b.latency_p99_ms << '\n'
        << "  infer              p50 " << b.infer_p50_ms << ", p99 " << b.infer_p99_ms << '\n'
        << std::setprecision(1) << "many at a time (pictures a second), " << b.inferences_at_a_time << " inferences at a time\n"
        << "  end to end         " << b.end_to_end << '\n'
        << "  decode only        " << b.decode_only << '\n'
        << "  pre-process only   " << b.preprocess_only << '\n'
        << "  infer only         " << b.infer_only << '\n';
}

void print_json(std::ostream& out, const Benchmark& b) {
    nlohmann::ordered_json object{
        {"pictures", b.pictures},
        {"inferences_at_a_time", b.inferences_at_a_time},
        {"latency_ms",
         {{"decode", b.decode_ms}, {"preprocess", b.preprocess_ms}, {"infer", b.infer_ms},
          {"p50", b.latency_p50_ms}, {"p99", b.latency_p99_ms},
          {"infer_p50", b.infer_p50_ms}, {"infer_p99", b.infer_p99_ms}}},
        {"pictures_per_second",
         {{"end_to_end", b.end_to_end}, {"decode_only", b.decode_only},
          {"preprocess_only", b.preprocess_only}, {"infer_only", b.infer_only}}},
    };
    out << object.dump(2) << '\n';
}

}  // namespace

Benchmark run_benchmark(const BenchmarkSettings& settings, const Paths& all_paths) {
    Paths paths = readable(all_paths, settings.max_pixels);
    Benchmark result{};
    result.pictures = paths.size();
    {
        Model model = load_model(settings.model, {settings.device, settings.threads, ov::hint::PerformanceMode::LATENCY});
        measure_latency(model, paths, settings.seconds, result);
    }
    Model model = load_model(settings.model, {settings.device, settings.threads, ov::hint::PerformanceMode::THROUGHPUT});
    result.inferences_at_a_time = model.compiled.get_property(ov::optimal_number_of_infer_requests);
    result.infer_only = infer_rate(model, paths, result.inferences_at_a_time, settings.seconds);
    result.decode_only = decode_rate(paths, settings.decoders, settings.seconds);
    result.preprocess_only = preprocess_rate(model, paths, settings.decoders, settings.seconds);
    result.end_to_end = end_to_end_rate(model, paths, settings.decoders, settings.seconds);
    return result;
}

void print_benchmark(std::ostream& out, const Benchmark& result, bool as_json) { as_json ? print_json(out, result) : print_table(out, result); }

}  // namespace deploy
