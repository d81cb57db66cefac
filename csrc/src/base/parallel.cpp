#include "convexrelu/base/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include "convexrelu/base/error.hpp"

namespace convexrelu {
inline namespace base {

namespace {

using Clock = std::chrono::steady_clock;
using Work = std::function<void()>;

// To wake a thread takes tens of microseconds, as much as a small loop: one that waits looks around
// for so long before it sleeps.
constexpr std::chrono::microseconds kAwake{50};
constexpr std::chrono::milliseconds kPatience{5};

// True in the chunks of a loop: loops inside them are for the thread that they are in.
thread_local bool inside_loop = false;

template <typename Condition>
bool comes_soon(const Condition& condition) {
  for (const Clock::time_point end = Clock::now() + kAwake; Clock::now() < end;) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return condition();
}

long this_process() {
#if __has_include(<unistd.h>)
  return static_cast<long>(getpid());
#else
  return 0;
#endif
}

// The threads that help one thread with its loops, and stay for the next one.
class Team {
 public:
  Team() = default;
  ~Team() {
    for (const auto& worker : workers_) {
      {
        const std::lock_guard<std::mutex> hold(worker->lock);
        worker->is_dismissed = true;
      }
      worker->wake.notify_one();
    }
    for (const auto& worker : workers_) worker->thread.join();
  }

  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Of the calling thread; null where there is no memory for one. A process that was forked has none
  // of the threads: what it inherits of their team is left alone.
  static Team* mine() {
    struct Dismiss {
      void operator()(Team* team) const {
        if (team->process_ == this_process()) delete team;
      }
    };
    thread_local std::unique_ptr<Team, Dismiss> team;
    if (!team || team->process_ != this_process()) team.reset(new (std::nothrow) Team);
    return team.get();
  }

  // Has up to n workers do the work: fewer, where threads or memory for more are not to be had.
  void begin(std::size_t n, const Work& work) {
    try {
      workers_.reserve(n);
      while (workers_.size() < n) workers_.push_back(std::make_unique<Worker>(*this));
    } catch (...) {
      n = workers_.size();
    }
    n_busy_ = n;
    for (std::size_t i = 0; i < n_busy_; ++i) {
      Worker& worker = *workers_[i];
      {
        const std::lock_guard<std::mutex> hold(worker.lock);
        worker.work = &work;
      }
      worker.wake.notify_one();
    }
  }

  // Returns when all have done it.
  void finish(const Work& meanwhile) {
    const auto are_done = [&] {
      return std::all_of(workers_.begin(), workers_.begin() + static_cast<std::ptrdiff_t>(n_busy_),
                         [](const auto& worker) { return worker->work == nullptr; });
    };
    if (comes_soon(are_done)) return;
    std::unique_lock<std::mutex> hold(lock_);
    owner_sleeps_ = true;
    while (!done_.wait_for(hold, kPatience, are_done)) {
      if (!meanwhile) continue;
      hold.unlock();
      meanwhile();
      hold.lock();
    }
    owner_sleeps_ = false;
  }

 private:
  struct Worker {
    explicit Worker(Team& team) : thread([this, &team] { team.serve(*this); }) {}

    std::atomic<const Work*> work{nullptr};
    std::mutex lock;
    std::condition_variable wake;
    bool is_dismissed = false;
    std::thread thread;  // last: it uses the others
  };

  void serve(Worker& worker) {
    inside_loop = true;
    const auto has_work = [&] { return worker.work != nullptr; };
    for (;;) {
      if (!comes_soon(has_work)) {
        std::unique_lock<std::mutex> hold(worker.lock);
        worker.wake.wait(hold, [&] { return has_work() || worker.is_dismissed; });
        if (!has_work()) return;
      }
      (*worker.work)();
      worker.work = nullptr;
      if (owner_sleeps_) {
        const std::lock_guard<std::mutex> hold(lock_);
        done_.notify_one();
      }
    }
  }

  const long process_ = this_process();
  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t n_busy_ = 0;
  std::mutex lock_;
  std::condition_variable done_;
  std::atomic<bool> owner_sleeps_{false};
};

}  // namespace

int usable_threads(int n_threads) {
  static const int n_processors =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (n_threads == -1) return n_processors;
  if (n_threads < 1) {
    throw_invalid("n_threads must be at least 1, or -1 for all processors, got " +
                  std::to_string(n_threads));
  }
  return std::min(n_threads, n_processors);
}

void parallel_for(Index n_chunks, int n_threads, const std::function<void(Index)>& body,
                  const std::function<void()>& meanwhile) {
  const Index n_workers = std::min<Index>(usable_threads(n_threads), n_chunks);
  Team* const team = n_workers > 1 && !inside_loop ? Team::mine() : nullptr;
  if (team == nullptr) {
    for (Index chunk = 0; chunk < n_chunks; ++chunk) body(chunk);
    return;
  }
  std::atomic<Index> next{0};
  std::mutex failure_lock;
  std::exception_ptr failure;
  const auto attempt = [&](const auto& call) {
    try {
      call();
    } catch (...) {
      const std::lock_guard<std::mutex> hold(failure_lock);
      if (!failure) failure = std::current_exception();
      next.store(n_chunks);
    }
  };
  const auto take_chunks = [&] {
    for (Index chunk; (chunk = next.fetch_add(1)) < n_chunks;) attempt([&] { body(chunk); });
  };
  const auto watch = [&] { attempt(meanwhile); };
  const Work work(std::cref(take_chunks));
  team->begin(static_cast<std::size_t>(n_workers - 1), work);
  inside_loop = true;
  take_chunks();
  team->finish(meanwhile ? Work(std::cref(watch)) : Work());
  inside_loop = false;
  if (failure) std::rethrow_exception(failure);
}

}  // namespace base
}  // namespace convexrelu
