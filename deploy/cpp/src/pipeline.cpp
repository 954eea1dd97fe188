#include "pipeline.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "pool.h"

namespace deploy {
namespace {

std::string reason(std::exception_ptr failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const std::bad_alloc&) {
        return "too large for the memory of this machine";
    } catch (const std::exception& error) {
        return error.what();
    }
}

/// Results between the threads that finish them in any order and the one that takes them in order.
/// At most `window` paths are handed out and not yet taken: a slow picture or reader holds the others up, instead of piling them up.
class OrderedResults {
  public:
    OrderedResults(const Source& source, size_t window) : source_(source), ring_(window) {}

    /// The next path and its number; nothing at the end.
    std::optional<std::pair<size_t, std::string>> claim() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ended_ || claimed_ - taken_ < ring_.size(); });
        if (ended_) return {};
        auto path = source_();
        if (!path) {
            end(lock);
            return {};
        }
        return {{claimed_++, std::move(*path)}};
    }

    void put(size_t number, Result result) {
        std::lock_guard lock(mutex_);
        ring_[number % ring_.size()] = std::move(result);
        changed_.notify_all();
    }

    /// The next result in order; nothing when all were taken.
    std::optional<Result> take() {
        std::unique_lock lock(mutex_);
        auto& slot = ring_[taken_ % ring_.size()];
        changed_.wait(lock, [&] { return slot || (ended_ && taken_ == claimed_); });
        if (!slot) return {};
        auto result = std::move(slot);
        slot.reset();
        ++taken_;
        changed_.notify_all();
        return result;
    }

    /// No more paths are handed out.
    void stop() {
        std::unique_lock lock(mutex_);
        end(lock);
    }

  private:
    void end(std::unique_lock<std::mutex>&) {
        ended_ = true;
        changed_.notify_all();
    }

    const Source& source_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::optional<Result>> ring_;
    size_t claimed_ = 0, taken_ = 0;
    bool ended_ = false;
};

class Pipeline {
  public:
    Pipeline(Model& model, int decoders, size_t max_pixels, const Source& source) : results_(source, 8 * (decoders + num_running(model))) {
        // While `num_running` are inferred, each decoding thread prepares one more.
        for (int i = 0; i < decoders + num_running(model); ++i) {
            requests_.push_back(std::make_unique<Request>(model, max_pixels));
            idle_.put(requests_.back().get());
        }
        for (int i = 0; i < decoders; ++i) threads_.emplace_back([this] { decode_pictures(); });
    }

    /// Also on the way out of an exception, nothing may run on when its memory goes.
    ~Pipeline() {
        results_.stop();
        for (auto& thread : threads_) thread.join();
        for (size_t i = 0; i < requests_.size(); ++i) idle_.take();
    }

    std::optional<Result> take() { return results_.take(); }

  private:
    static int num_running(Model& model) { return model.compiled.get_property(ov::optimal_number_of_infer_requests); }

    void decode_pictures() {
        while (auto job = results_.claim()) classify(job->first, std::move(job->second));
    }

    void classify(size_t number, std::string path) {
        Request* request = idle_.take();
        try {
            request->load_file(path);
        } catch (...) {
            idle_.put(request);
            results_.put(number, {std::move(path), {}, reason(std::current_exception())});
            return;
        }
        request->on_done([this, request, number, path = std::move(path)](std::exception_ptr failure) {
            Result result{path, {}, {}};
            try {
                if (failure) std::rethrow_exception(failure);
                result.answer = request->answer();
            } catch (...) {
                result.error = "inference failed: " + reason(std::current_exception());
            }
            results_.put(number, std::move(result));
            idle_.put(request);
        });
        request->start();
    }

    OrderedResults results_;
    Pool<Request*> idle_;
    std::vector<std::unique_ptr<Request>> requests_;  // destroyed before `idle_`: a callback may still be returning from it
    std::vector<std::thread> threads_;
};

}  // namespace

void classify_all(Model& model, int decoders, size_t max_pixels, const Source& source, const Sink& sink) {
    Pipeline pipeline(model, decoders, max_pixels, source);
    while (auto result = pipeline.take()) sink(*result);
}

}  // namespace deploy
