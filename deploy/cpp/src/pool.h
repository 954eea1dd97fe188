// Things to borrow: `take` waits until one is there.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

namespace deploy {

template <typename T>
class Pool {
  public:
    void put(T item) {
        std::lock_guard lock(mutex_);
        items_.push_back(item);
        // Under the lock: once the last item is back, the pool may be destroyed by whoever waits for it.
        filled_.notify_one();
    }

    T take() {
        std::unique_lock lock(mutex_);
        filled_.wait(lock, [&] { return !items_.empty(); });
        T item = items_.back();
        items_.pop_back();
        return item;
    }

  private:
    std::mutex mutex_;
    std::condition_variable filled_;
    std::vector<T> items_;
};

}  // namespace deploy
