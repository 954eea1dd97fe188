// classify: pictures in, classes out. See options.cpp for what it takes, pipeline.h for how it works.
#include <atomic>
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

std::atomic<int> caught{0};  // the signal that asks for an end

/// The first Ctrl-C ends the run in order, the second at once. What was started to ignore it (nohup) goes on.
void end_in_order() {
    static_assert(std::atomic<int>::is_always_lock_free);
    for (int signal : {SIGINT, SIGTERM}) {
        struct sigaction before, action {};
        action.sa_handler = [](int number) { caught = number; };
        action.sa_flags = SA_RESETHAND | SA_RESTART;
        if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
    }
}

void check_output() {
    if (!std::cout) throw std::runtime_error("the results cannot be written: standard output is closed or its disk is full.");
}

/// Exit status 0 if at least one picture was classified.
int classify(const Options& options) {
    Model model = load_model(options.model, {options.device, options.threads, ov::hint::PerformanceMode::THROUGHPUT, options.cache});
    auto writer = make_writer(options.output, std::cout, model.classes, options.reject_below.value_or(model.reject_below));
    size_t next = 0, classified = 0;
    auto source = [&] { return next < options.pictures.size() && !caught ? std::optional(options.pictures[next++]) : std::nullopt; };
    end_in_order();
    classify_all(model, num_threads(options), options.max_pixels, source, [&](const Result& result) {
        classified += result.answer.has_value();
        writer->write(result);
        check_output();
    });
    writer->finish();
    std::cout.flush();
    check_output();
    if (next < options.pictures.size()) {
        std::cerr << "classify: interrupted; these are the first " << next << " of " << options.pictures.size() << " pictures.\n";
        return 128 + caught;
    }
    return classified > 0 ? 0 : 1;
}

int run(int argc, char** argv) {
    Options options = parse_options(argc, argv);
    if (!options.benchmark) return classify(options);
    BenchmarkSettings settings{options.model, options.device, options.threads, num_threads(options), options.max_pixels, options.seconds};
    print_benchmark(std::cout, run_benchmark(settings, options.pictures), options.output == "json");
    std::cout.flush();
    check_output();
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
