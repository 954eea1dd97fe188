// classify: pictures in, classes out. See options.cpp for what it takes, pipeline.h for how it works.
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <thread>

#include "benchmark.h"
#include "options.h"
#include "output.h"

namespace {

using namespace deploy;

int num_threads(const Options& options) {
    return options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
}

/// Exit status 0 if at least one picture was classified.
int classify(const Options& options) {
    Model model = load_model(options.model, {options.device, options.threads, ov::hint::PerformanceMode::THROUGHPUT});
    auto writer = make_writer(options.output, std::cout, model.classes, options.reject_below.value_or(model.reject_below));
    size_t next = 0, classified = 0;
    auto source = [&] { return next < options.pictures.size() ? std::optional(options.pictures[next++]) : std::nullopt; };
    classify_all(model, num_threads(options), options.max_pixels, source, [&](const Result& result) {
        classified += result.answer.has_value();
        writer->write(result);
        if (!std::cout) throw std::runtime_error("the results cannot be written: standard output is closed or its disk is full.");
    });
    writer->finish();
    std::cout.flush();
    if (!std::cout) throw std::runtime_error("the results cannot be written: standard output is closed or its disk is full.");
    return classified > 0 ? 0 : 1;
}

int run(int argc, char** argv) {
    Options options = parse_options(argc, argv);
    if (!options.benchmark) return classify(options);
    BenchmarkSettings settings{options.model, options.device, options.threads, num_threads(options), options.max_pixels, options.seconds};
    print_benchmark(std::cout, run_benchmark(settings, options.pictures), options.output == "json");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::ios::sync_with_stdio(false);
    std::signal(SIGPIPE, SIG_IGN);  // `classify ... | head` ends with a message, and through all destructors
    try {
        return run(argc, argv);
    } catch (const UsageError& error) {
        std::cerr << "classify: " << error.message << '\n';
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "classify: " << error.what() << '\n';
        return 1;
    }
}
