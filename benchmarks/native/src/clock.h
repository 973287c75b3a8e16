// The one clock of all timings.
#pragma once

#include <cstdint>
#include <ctime>

namespace edgekit {

// CLOCK_MONOTONIC and not its RAW sibling: on older Arm kernels RAW is a system call, which costs
// more than NTP's slewing (500 ppm at most) bends a sample.
inline int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace edgekit
