#include "cpus.h"

#include <dirent.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "failure.h"
#include "text.h"

namespace edgekit {
namespace {

// How fast the core is against the others: its capacity (Arm, 1024 is the fastest) or its highest
// frequency; 0 where the system tells neither.
uint64_t Strength(int core) {
  const std::string folder = Format("/sys/devices/system/cpu/cpu%d/", core);
  for (const char* file : {"cpu_capacity", "cpufreq/cpuinfo_max_freq"}) {
    const auto text = ReadSmallFile(folder + file);
    const auto value = text ? ParseUnsigned(Trim(*text)) : std::nullopt;
    if (value) return *value;
  }
  return 0;
}

// The cores of the strongest or the weakest kind.
std::vector<int> CoresOfKind(bool big) {
  const std::vector<int> cores = OnlineCores();
  std::vector<uint64_t> strengths;
  for (const int core : cores) strengths.push_back(Strength(core));
  const auto [weakest, strongest] = std::minmax_element(strengths.begin(), strengths.end());
  if (strengths.empty() || *weakest == *strongest) {
    throw Failure(kUsage,
                  std::string("--affinity ") + (big ? "big" : "little") +
                      ": this machine's cores are all alike, as far as the system tells",
                  "Use --affinity all or a list of cores such as 0,2-3.");
  }
  std::vector<int> chosen;
  for (size_t i = 0; i < cores.size(); ++i) {
    if (strengths[i] == (big ? *strongest : *weakest)) chosen.push_back(cores[i]);
  }
  return chosen;
}

}  // namespace

std::vector<int> ParseCoreList(const std::string& text) {
  std::vector<int> cores;
  for (const std::string& part : Split(Trim(text), ',')) {
    const std::vector<std::string> ends = Split(part, '-');
    const auto first = ParseUnsigned(ends.front()), last = ParseUnsigned(ends.back());
    if (ends.size() > 2 || !first || !last || *first > *last || *last >= CPU_SETSIZE) return {};
    for (uint64_t core = *first; core <= *last; ++core) cores.push_back(static_cast<int>(core));
  }
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  return cores;
}

std::vector<int> OnlineCores() {
  const auto text = ReadSmallFile("/sys/devices/system/cpu/online");
  const std::vector<int> cores = text ? ParseCoreList(*text) : std::vector<int>{};
  return cores.empty() ? AllowedCores() : cores;
}

std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::vector<int> BindTo(const std::string& affinity) {
  std::vector<int> cores;
  if (affinity == "all") {
    cores = OnlineCores();
  } else if (affinity == "big" || affinity == "little") {
    cores = CoresOfKind(affinity == "big");
  } else {
    cores = ParseCoreList(affinity);
    if (cores.empty()) {
      throw Failure(kUsage,
                    "--affinity " + affinity + ": not all, big, little or a list such as 0,2-3");
    }
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    const int error = errno;
    const std::vector<int> online = OnlineCores();
    const bool absent = error == EINVAL;  // none of the cores is there
    throw Failure(absent ? kUsage : kRuntimeFailed,
                  "--affinity " + affinity + ": the system refused it (" + strerror(error) + ")",
                  absent ? Format("Its cores are %d to %d.", online.front(), online.back()) : "");
  }
  return AllowedCores();
}

int CountThreads() {
  DIR* folder = opendir("/proc/self/task");
  if (folder == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

}  // namespace edgekit
