#include "measure.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "clock.h"
#include "failure.h"
#include "stop.h"

namespace edgekit {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// One timed inference: when it began, and how long it took.
struct Timed {
  int64_t start_ns, duration_ns;
};

Timed TimeOne(Runtime* runtime) {
  const int64_t start = NowNs();
  const bool fine = runtime->Invoke();
  const int64_t end = NowNs();
  if (!fine) throw Failure(kRuntimeFailed, "an inference failed: " + runtime->Problem());
  return {start, end - start};
}

// Something to do once a second at most, between inferences.
class EverySecond {
 public:
  bool Due(int64_t now) {
    if (now < next_) return false;
    next_ = now + kSecond;
    return true;
  }

 private:
  int64_t next_ = 0;
};

class Progress {
 public:
  Progress(const Options& options, const char* phase, int64_t target_ns)
      : quiet_(options.quiet), phase_(phase), target_ns_(target_ns) {
    timer_.Due(NowNs());  // nothing is said of a phase that takes less than a second
  }

  void Update(int64_t now, int64_t elapsed_ns, size_t runs) {
    if (quiet_ || !timer_.Due(now)) return;
    fprintf(stderr, "progress: %s %.1f/%.1f s %zu runs\n", phase_, elapsed_ns / 1e9,
            target_ns_ / 1e9, runs);
  }

 private:
  bool quiet_;
  const char* phase_;
  int64_t target_ns_;
  EverySecond timer_;
};

void SleepUntil(int64_t time_ns) {
  const timespec until = {static_cast<time_t>(time_ns / kSecond),
                          static_cast<long>(time_ns % kSecond)};
  while (!StopRequested() &&
         clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

void WarmUp(const Options& options, Runtime* runtime, Samples* samples) {
  Progress progress(options, "warm-up", options.warmup_ns);
  const int64_t begin = NowNs();
  for (int64_t now = begin; now - begin < options.warmup_ns && !StopRequested(); now = NowNs()) {
    samples->warmup_ns.push_back(TimeOne(runtime).duration_ns);
    progress.Update(now, now - begin, samples->warmup_ns.size());
  }
}

bool Enough(const Options& options, int64_t elapsed_ns, size_t runs) {
  if (runs >= kMostSamples) return true;
  if (options.sustain_ns > 0) return elapsed_ns >= options.sustain_ns;
  const bool both = elapsed_ns >= options.min_time_ns &&
                    static_cast<int64_t>(runs) >= options.min_runs;
  return both || elapsed_ns >= options.max_time_ns;
}

// Room for all samples that are to be expected, so that none is followed by a move of the others.
void Reserve(const Options& options, Samples* samples) {
  const int64_t fastest =
      samples->warmup_ns.empty()
          ? samples->first_ns
          : *std::min_element(samples->warmup_ns.begin(), samples->warmup_ns.end());
  const int64_t longest = options.sustain_ns > 0 ? options.sustain_ns : options.max_time_ns;
  const int64_t pace = std::max<int64_t>({fastest, options.interval_ns, 1});
  const size_t count = std::min(kMostSamples, static_cast<size_t>(longest / pace + 64));
  samples->samples_ns.reserve(count);
  samples->starts_ns.reserve(count);
}

}  // namespace

void RunFirst(Runtime* runtime, Samples* samples) {
  samples->first_ns = TimeOne(runtime).duration_ns;
}

void RunMany(const Options& options, const Machine& machine, Runtime* runtime, Samples* samples) {
  WarmUp(options, runtime, samples);
  Reserve(options, samples);
  const bool sustained = options.sustain_ns > 0;
  Progress progress(options, sustained ? "sustain" : "measure",
                    sustained ? options.sustain_ns : options.min_time_ns);
  EverySecond watch;
  int64_t begin = 0, next = 0;
  while (!StopRequested()) {
    const Timed timed = TimeOne(runtime);
    if (samples->samples_ns.empty()) begin = next = timed.start_ns;
    samples->samples_ns.push_back(timed.duration_ns);
    samples->starts_ns.push_back(timed.start_ns - begin);

    const int64_t now = NowNs();
    if (Enough(options, now - begin, samples->samples_ns.size())) break;
    if (watch.Due(now)) {
      samples->timeline.push_back({now - begin, ReadState(machine, false)});
    }
    progress.Update(now, now - begin, samples->samples_ns.size());
    if (options.interval_ns > 0) {
      next = std::max(next + options.interval_ns, NowNs());  // a late run doesn't hurry the others
      SleepUntil(next);
    }
  }
}

}  // namespace edgekit
