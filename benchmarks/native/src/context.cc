#include "context.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cpus.h"
#include "text.h"

namespace edgekit {
namespace {

std::optional<std::string> ReadLine(const std::string& path) {
  const auto text = ReadSmallFile(path);
  if (!text || Trim(*text).empty()) return std::nullopt;
  return Trim(Split(*text, '\n')[0]);
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  const auto line = ReadLine(path);
  if (!line) return std::nullopt;
  const bool negative = (*line)[0] == '-';
  const auto value = ParseUnsigned(negative ? line->substr(1) : *line);
  if (!value) return std::nullopt;
  return negative ? -static_cast<int64_t>(*value) : static_cast<int64_t>(*value);
}

// The values of all lines "key : value" of /proc/cpuinfo with that key.
std::vector<std::string> CpuInfo(const std::string& key) {
  std::vector<std::string> values;
  for (const std::string& line : Split(ReadSmallFile("/proc/cpuinfo").value_or(""), '\n')) {
    const size_t colon = line.find(':');
    if (colon != std::string::npos && Trim(line.substr(0, colon)) == key) {
      values.push_back(Trim(line.substr(colon + 1)));
    }
  }
  return values;
}

// A function of the C library that only some have.
template <typename Function>
Function Optional(const char* symbol) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, symbol));
}

std::optional<std::string> AndroidProperty(const char* name) {
  constexpr int kMostBytes = 92;  // PROP_VALUE_MAX of sys/system_properties.h
  char value[kMostBytes] = "";
  const auto get = Optional<int (*)(const char*, char*)>("__system_property_get");
  if (get == nullptr || get(name, value) <= 0) return std::nullopt;
  return value;
}

#if defined(__aarch64__) || defined(__arm__)

struct Part {
  unsigned implementer, part;
  const char* name;
};

// MIDR_EL1's implementer and part numbers; the names are those of util-linux's lscpu-arm.c.
constexpr Part kParts[] = {
    {0x41, 0xb76, "ARM1176"},       {0x41, 0xc07, "Cortex-A7"},     {0x41, 0xc08, "Cortex-A8"},
    {0x41, 0xc09, "Cortex-A9"},     {0x41, 0xc0d, "Cortex-A17"},    {0x41, 0xc0f, "Cortex-A15"},
    {0x41, 0xd03, "Cortex-A53"},    {0x41, 0xd04, "Cortex-A35"},    {0x41, 0xd05, "Cortex-A55"},
    {0x41, 0xd07, "Cortex-A57"},    {0x41, 0xd08, "Cortex-A72"},    {0x41, 0xd09, "Cortex-A73"},
    {0x41, 0xd0a, "Cortex-A75"},    {0x41, 0xd0b, "Cortex-A76"},    {0x41, 0xd0c, "Neoverse-N1"},
    {0x41, 0xd0d, "Cortex-A77"},    {0x41, 0xd40, "Neoverse-V1"},   {0x41, 0xd41, "Cortex-A78"},
    {0x41, 0xd42, "Cortex-A78AE"},  {0x41, 0xd44, "Cortex-X1"},     {0x41, 0xd46, "Cortex-A510"},
    {0x41, 0xd47, "Cortex-A710"},   {0x41, 0xd48, "Cortex-X2"},     {0x41, 0xd49, "Neoverse-N2"},
    {0x41, 0xd4b, "Cortex-A78C"},   {0x41, 0xd4c, "Cortex-X1C"},    {0x41, 0xd4d, "Cortex-A715"},
    {0x41, 0xd4e, "Cortex-X3"},     {0x41, 0xd4f, "Neoverse-V2"},   {0x41, 0xd80, "Cortex-A520"},
    {0x41, 0xd81, "Cortex-A720"},   {0x41, 0xd82, "Cortex-X4"},     {0x41, 0xd85, "Cortex-X925"},
    {0x41, 0xd87, "Cortex-A725"},
    {0x51, 0x800, "Kryo 2xx Gold"}, {0x51, 0x801, "Kryo 2xx Silver"},
    {0x51, 0x802, "Kryo 3xx Gold"}, {0x51, 0x803, "Kryo 3xx Silver"},
    {0x51, 0x804, "Kryo 4xx Gold"}, {0x51, 0x805, "Kryo 4xx Silver"},
};

std::string NameOfPart(unsigned implementer, unsigned part) {
  for (const Part& known : kParts) {
    if (known.implementer == implementer && known.part == part) return known.name;
  }
  return Format("Arm implementer 0x%02x part 0x%03x", implementer, part);
}

// "Cortex-A72", or "4 x Cortex-A76 + 4 x Cortex-A55".
std::string CpuName() {
  const std::vector<std::string> implementers = CpuInfo("CPU implementer"),
                                 parts = CpuInfo("CPU part");
  std::vector<std::string> names;
  std::map<std::string, int> counts;
  for (size_t i = 0; i < parts.size() && i < implementers.size(); ++i) {
    const auto implementer = ParseUnsigned(implementers[i], 16), part = ParseUnsigned(parts[i], 16);
    if (!implementer || !part) continue;
    const std::string name = NameOfPart(static_cast<unsigned>(*implementer),
                                        static_cast<unsigned>(*part));
    if (++counts[name] == 1) names.push_back(name);
  }
  if (names.empty()) return "unknown Arm processor";
  if (names.size() == 1) return names[0];
  for (std::string& name : names) name = Format("%d x %s", counts[name], name.c_str());
  return Join(names, " + ");
}

// The bits of the kernel's arch/{arm64,arm}/include/uapi/asm/hwcap.h that matter to a neural
// network's kernels, by the names that compilers know (-march=...+dotprod). Unlike /proc/cpuinfo,
// an emulator answers for itself here.
struct Feature {
  unsigned long word;
  int bit;
  const char* name;
};
#ifdef __aarch64__
constexpr Feature kFeatures[] = {
    {AT_HWCAP, 1, "neon"},     {AT_HWCAP, 8, "lse"},       {AT_HWCAP, 10, "fp16"},
    {AT_HWCAP, 20, "dotprod"}, {AT_HWCAP, 23, "fp16fml"},  {AT_HWCAP, 22, "sve"},
    {AT_HWCAP2, 1, "sve2"},    {AT_HWCAP2, 13, "i8mm"},    {AT_HWCAP2, 14, "bf16"},
    {AT_HWCAP2, 23, "sme"},    {AT_HWCAP2, 37, "sme2"},
};
#else
constexpr Feature kFeatures[] = {
    {AT_HWCAP, 12, "neon"}, {AT_HWCAP, 13, "vfpv3"},   {AT_HWCAP, 16, "vfpv4"},
    {AT_HWCAP, 17, "idiv"}, {AT_HWCAP, 23, "fp16"},    {AT_HWCAP, 24, "dotprod"},
    {AT_HWCAP, 26, "bf16"}, {AT_HWCAP, 25, "fp16fml"}, {AT_HWCAP, 27, "i8mm"},
};
#endif

std::vector<std::string> Features() {
  std::vector<std::string> features;
  for (const Feature& feature : kFeatures) {
    const uint64_t word = getauxval(feature.word);
    if (word >> feature.bit & 1) features.push_back(feature.name);
  }
  return features;
}

std::optional<std::string> WhyEmulated() {
  // Linux on Arm has neither: they are those of an x86 host.
  if (!CpuInfo("vendor_id").empty()) return "/proc/cpuinfo is that of an x86 processor";
  if (access("/sys/devices/system/cpu/microcode", F_OK) == 0) {
    return "/sys/devices/system/cpu/microcode exists, as on an x86 processor";
  }
#ifdef __aarch64__
  // 62.5 MHz is what QEMU gives where a CPU model sets nothing (GTIMER_DEFAULT_HZ, before 9.0
  // GTIMER_SCALE, in target/arm/cpu.h); a Raspberry Pi's counter runs at 19.2 or 54 MHz.
  uint64_t counter_hz;
  asm("mrs %0, cntfrq_el0" : "=r"(counter_hz));
  if (counter_hz == 62'500'000) return "its counter runs at 62.5 MHz, QEMU's default";
#endif
  return std::nullopt;
}

#else

std::string CpuName() {
  const std::vector<std::string> names = CpuInfo("model name");
  return names.empty() ? "unknown processor" : names[0];
}

// Those that matter to a neural network's kernels.
std::vector<std::string> Features() {
  const std::vector<std::string> flags = CpuInfo("flags");
  std::vector<std::string> features;
  if (flags.empty()) return features;
  const std::string all = " " + flags[0] + " ";
  for (const char* name : {"sse4_1", "sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw",
                           "avx512vl", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16",
                           "amx_tile", "amx_int8", "amx_bf16"}) {
    if (all.find(std::string(" ") + name + " ") != std::string::npos) features.push_back(name);
  }
  return features;
}

std::optional<std::string> WhyEmulated() { return std::nullopt; }

#endif

std::optional<std::string> BoardName() {
  for (const char* path : {"/proc/device-tree/model", "/sys/firmware/devicetree/base/model",
                           "/sys/class/dmi/id/product_name"}) {
    if (const auto name = ReadLine(path)) return name;
  }
  return AndroidProperty("ro.product.model");
}

std::string LibcName() {
  const auto glibc = Optional<const char* (*)()>("gnu_get_libc_version");
  if (glibc != nullptr) return std::string("glibc ") + glibc();
  const auto bionic = Optional<int (*)()>("android_get_device_api_level");
  return bionic != nullptr ? Format("bionic, API %d", bionic()) : "unknown";
}

std::optional<std::string> OsName() {
  const auto android = AndroidProperty("ro.build.version.release");
  if (android) return "Android " + *android;
  const std::string key = "PRETTY_NAME=";
  for (const std::string& line : Split(ReadSmallFile("/etc/os-release").value_or(""), '\n')) {
    if (!StartsWith(line, key)) continue;
    const std::string name = line.substr(key.size());
    const bool quoted = name.size() >= 2 && name[0] == '"' && name.back() == '"';
    return quoted ? name.substr(1, name.size() - 2) : name;
  }
  return std::nullopt;
}

void ReadFrequencies(State* state) {
  for (const int core : OnlineCores()) {
    const std::string name = Format("%d", core);
    const std::string folder = "/sys/devices/system/cpu/cpu" + name + "/cpufreq/";
    if (const auto governor = ReadLine(folder + "scaling_governor")) {
      state->governors[name] = *governor;
    }
    if (const auto khz = ReadNumber(folder + "scaling_cur_freq")) {
      state->frequencies_khz[name] = *khz;
    }
    if (const auto khz = ReadNumber(folder + "cpuinfo_max_freq")) {
      state->max_frequencies_khz[name] = *khz;
    }
  }
}

void AddTemperature(const std::string& name, const std::string& path, State* state) {
  const auto value = ReadNumber(path);
  if (!value) return;
  std::string unique = name;
  for (int i = 2; state->temperatures_mc.count(unique) > 0; ++i) {
    unique = Format("%s#%d", name.c_str(), i);
  }
  state->temperatures_mc[unique] = *value;
}

// Thermal zones, or hwmon's sensors where there are none: many boards show the same one in both.
void ReadTemperatures(State* state) {
  for (const std::string& zone : Glob("/sys/class/thermal/thermal_zone*")) {
    AddTemperature(ReadLine(zone + "/type").value_or(NameOf(zone)), zone + "/temp", state);
  }
  if (!state->temperatures_mc.empty()) return;
  for (const std::string& input : Glob("/sys/class/hwmon/hwmon*/temp*_input")) {
    const std::string sensor = input.substr(0, input.size() - 6);
    const std::string chip = ReadLine(FolderOf(input) + "/name").value_or("hwmon");
    const auto label = ReadLine(sensor + "_label");
    AddTemperature(label ? chip + "/" + *label : chip, input, state);
  }
}

std::optional<int64_t> Throttled(bool may_start_processes) {
  const auto file = ReadLine("/sys/devices/platform/soc/soc:firmware/get_throttled");
  if (const auto bits = file ? ParseUnsigned(*file, 16) : std::nullopt) return *bits;
  const bool has_tool = access("/usr/bin/vcgencmd", X_OK) == 0;
  if (!may_start_processes || !has_tool) return std::nullopt;
  FILE* pipe = popen("/usr/bin/vcgencmd get_throttled 2>/dev/null", "r");
  if (pipe == nullptr) return std::nullopt;
  char line[64] = "";  // throttled=0x50000
  const bool read = fgets(line, sizeof(line), pipe) != nullptr;
  pclose(pipe);
  const std::vector<std::string> parts = Split(Trim(line), '=');
  const auto bits = read && parts.size() == 2 ? ParseUnsigned(parts[1], 16) : std::nullopt;
  return bits ? std::optional<int64_t>(*bits) : std::nullopt;
}

int64_t AvailableBytes() {
  for (const std::string& line : Split(ReadSmallFile("/proc/meminfo").value_or(""), '\n')) {
    if (StartsWith(line, "MemAvailable:")) return atoll(line.c_str() + 13) * 1024;
  }
  return 0;
}

}  // namespace

Machine DescribeMachine(bool said_to_be_emulated) {
  Machine machine;
  utsname names{};
  uname(&names);
  machine.architecture = names.machine;
  machine.kernel = std::string(names.sysname) + " " + names.release;
  machine.cpu = CpuName();
  machine.cores = static_cast<int>(OnlineCores().size());
  machine.features = Features();
  machine.libc = LibcName();
  machine.os = OsName();
  machine.emulated = WhyEmulated();
  if (said_to_be_emulated) machine.emulated = "said so with --emulated";
  if (!machine.emulated) machine.name = BoardName();
  return machine;
}

State ReadState(const Machine& machine, bool may_start_processes) {
  State state;
  if (!machine.emulated) {
    ReadFrequencies(&state);
    ReadTemperatures(&state);
    state.throttled = Throttled(may_start_processes);
  }
  state.load_1m = strtod(ReadSmallFile("/proc/loadavg").value_or("0").c_str(), nullptr);
  state.available_bytes = AvailableBytes();
  return state;
}

int64_t PeakRssBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace edgekit
