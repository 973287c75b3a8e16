// What the system says of the machine, and of its state before, during and after a run.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace edgekit {

// What can change while a model runs. Maps are empty where the system says nothing.
struct State {
  std::map<std::string, std::string> governors;          // by core
  std::map<std::string, int64_t> frequencies_khz;        // by core
  std::map<std::string, int64_t> max_frequencies_khz;    // by core
  std::map<std::string, int64_t> temperatures_mc;        // by sensor, in thousandths of a degree
  std::optional<int64_t> throttled;                      // the bits of `vcgencmd get_throttled`
  double load_1m = 0;
  int64_t available_bytes = 0;
};

struct Machine {
  std::optional<std::string> name;  // of the board or computer; nothing where it is emulated
  std::string architecture;
  std::string cpu;
  int cores = 0;
  std::vector<std::string> features;
  std::string kernel;
  std::string libc;
  std::optional<std::string> os;
  std::optional<std::string> emulated;  // why we think so
};

Machine DescribeMachine(bool said_to_be_emulated);

// Reads the state. The Raspberry Pi's `vcgencmd` is a process of its own and is asked only where
// `may_start_processes`; the rest are small files. An emulator shows its host's sensors, so that
// nothing but load and memory is taken there.
State ReadState(const Machine& machine, bool may_start_processes);

int64_t PeakRssBytes();

}  // namespace edgekit
