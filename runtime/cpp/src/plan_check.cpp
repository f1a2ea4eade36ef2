#include "plan_check.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "sha256.h"
#include "status.h"

namespace rne {
namespace {

constexpr std::size_t header_bytes = 28;
// Ultralytics writes its metadata, JSON, and their length before the plan.
constexpr std::uint32_t longest_wrapper_bytes = 1u << 20;

std::string bundle_name(const Bundle &bundle) { return bundle.path.empty() ? "BUNDLE" : bundle.path; }

// The path of a file of the bundle, or its name alone where the bundle lies in memory.
std::string file_name(const Bundle &bundle, const std::string &name) {
    if (bundle.path.empty()) {
        return name;
    }
    return bundle.path + (bundle.path.back() == '/' ? "" : "/") + name;
}

std::uint32_t little_endian(const std::uint8_t *bytes) {
    return static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8 |
           static_cast<std::uint32_t>(bytes[2]) << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

// Whether a length and that many bytes of JSON come first.
bool is_wrapped(const std::vector<std::uint8_t> &plan) {
    if (plan.size() < 5 || plan[4] != '{') {
        return false;
    }
    const std::uint32_t length = little_endian(plan.data());
    if (length < 2 || length > longest_wrapper_bytes) {
        return false;
    }
    if (plan.size() < 4 + std::size_t{length}) {
        return true;
    }
    return nlohmann::json::accept(plan.begin() + 4, plan.begin() + 4 + length);
}

// Bytes as Python writes them, b'\x7fELF': the message is the same as the Python runtime's.
std::string python_bytes(const std::uint8_t *bytes, std::size_t count) {
    const auto has = [&](char wanted) { return std::find(bytes, bytes + count, wanted) != bytes + count; };
    const char quote = has('\'') && !has('"') ? '"' : '\'';
    const char *hexadecimal = "0123456789abcdef";
    std::string text = std::string("b") + quote;
    for (std::size_t i = 0; i < count; i++) {
        const char letter = static_cast<char>(bytes[i]);
        if (letter == quote || letter == '\\') {
            text += {'\\', letter};
        } else if (letter == '\t' || letter == '\n' || letter == '\r') {
            text += {'\\', letter == '\t' ? 't' : letter == '\n' ? 'n' : 'r'};
        } else if (bytes[i] < 32 || bytes[i] > 126) {
            text += {'\\', 'x', hexadecimal[bytes[i] >> 4], hexadecimal[bytes[i] & 15]};
        } else {
            text += letter;
        }
    }
    return text + quote;
}

// A generation of RTX GPUs and its compute capabilities: runtime/engines/trt/capabilities.py.
struct Generation {
    const char *name;
    std::vector<std::string> capabilities;
};

const std::vector<Generation> &generations() {
    static const std::vector<Generation> all = {
        {"Turing", {"7.5"}}, {"Ampere", {"8.0", "8.6"}}, {"Ada", {"8.9"}}, {"Blackwell", {"12.0", "12.1"}}};
    return all;
}

bool has(const std::vector<std::string> &names, const std::string &name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string joined(const std::vector<std::string> &words) {
    std::string text;
    for (const std::string &word : words) {
        text += (text.empty() ? "" : ", ") + word;
    }
    return text;
}

// For which GPUs a plan of TensorRT for RTX is, in words.
std::string describe_capabilities(const std::vector<std::string> &capabilities) {
    if (capabilities.empty()) {
        return "Ampere and later RTX GPUs";
    }
    std::vector<std::string> names;
    for (const Generation &generation : generations()) {
        if (std::any_of(generation.capabilities.begin(), generation.capabilities.end(),
                        [&](const std::string &one) { return has(capabilities, one); })) {
            names.push_back(generation.name);
        }
    }
    return joined(names) + " (compute " + (capabilities.size() > 1 ? "capabilities " : "capability ") +
           joined(capabilities) + ")";
}

// Read one number and go past it; false where there is none.
bool read_number(const char *&at, int &number) {
    if (*at < '0' || *at > '9') {
        return false;
    }
    for (number = 0; *at >= '0' && *at <= '9'; at++) {
        number = std::min(number, 99999) * 10 + (*at - '0');
    }
    return true;
}

auto release(const TensorRtVersion &version) { return std::tie(version.major, version.minor, version.patch); }

// Refuse a plan that is damaged, changed, or of another network.
void check_plan_file(const Bundle &bundle) {
    const Sidecar &sidecar = bundle.sidecar;
    const PlanLibrary &library = *bundle.library;
    const std::string file = file_name(bundle, library.plan), again = rebuild_command(bundle);
    const TensorRtVersion version = read_plan_header(bundle.plan, file, library);
    const std::size_t size = bundle.plan.size();
    if (size != sidecar.plan_bytes) {
        throw Error(RNE_BUNDLE, file + " has " + std::to_string(size) + " bytes, " +
                                    std::to_string(sidecar.plan_bytes) + " were built: it is " +
                                    (size < sidecar.plan_bytes ? "truncated" : "changed") + "; " + again);
    }
    if (sha256_hex(bundle.plan.data(), size) != sidecar.plan_sha256) {
        throw Error(RNE_BUNDLE, file + " was changed after it was built (its sha256 differs): " + again);
    }
    if (bundle.manifest.model_sha256 != sidecar.onnx_sha256) {
        throw Error(RNE_BUNDLE, file + " was built from another model.onnx (sha256 " +
                                    sidecar.onnx_sha256.substr(0, 12) + "…, the bundle's is " +
                                    bundle.manifest.model_sha256.substr(0, 12) + "…): " + again);
    }
    if (release(version) != release(parse_version(sidecar.tensorrt))) {
        throw Error(RNE_BUNDLE, file + " says " + library.label + " " + to_string(version) + ", but " +
                                    library.sidecar + " says " + sidecar.tensorrt + ": " + again);
    }
    if (sidecar.engine != library.engine) {
        throw Error(RNE_BUNDLE, file_name(bundle, library.sidecar) + " describes a plan of " +
                                    other_library(library).label + ", not of " + library.label + ": " + again);
    }
}

// Why another TensorRT cannot load a plan, or "".
// Source: TensorRT's support matrix, engine portability: a version-compatible plan runs in later runtimes of its
// major version, and one of 10 in 11; no plan runs in an earlier runtime.
std::string version_mismatch(const Sidecar &sidecar, const TensorRtVersion &installed) {
    const TensorRtVersion built = parse_version(sidecar.tensorrt);
    if (release(built) == release(installed)) {
        return "";
    }
    std::string sentence = "was built by TensorRT " + to_string(built) + ", this is " + to_string(installed);
    if (!sidecar.version_compatible) {
        return sentence;
    }
    if (release(installed) < release(built)) {
        return sentence + ", and a plan never runs in an earlier version";
    }
    if (installed.major != built.major && installed.major != built.major + 1) {
        return sentence + ", too far from it even for a version-compatible plan";
    }
    return "";
}

// Why another GPU cannot run a plan, or "".
std::string gpu_mismatch(const Sidecar &sidecar, const PlanMachine &machine) {
    const std::string &level = sidecar.hardware_compatibility;
    const std::string here = machine.gpu + " (compute capability " + machine.compute_capability + ")";
    const bool same = machine.compute_capability == sidecar.compute_capability;
    if (level == "none" && !(same && machine.gpu == sidecar.gpu)) {
        return "was built for " + sidecar.gpu + " (compute capability " + sidecar.compute_capability + "), this is " +
               here;
    }
    if (level == "same-compute-capability" && !same) {
        return "was built for compute capability " + sidecar.compute_capability + ", this is " + here;
    }
    if (level == "ampere+" && parse_version(machine.compute_capability).major < 8) {
        return "was built for Ampere and later GPUs, compute capability 8.0, this is " + here;
    }
    return "";
}

std::string device_name(const PlanMachine &machine) {
    return machine.gpu + " (compute capability " + machine.compute_capability + ")";
}

auto numbers(const std::string &capability) {
    const TensorRtVersion parsed = parse_version(capability);
    return std::make_pair(parsed.major, parsed.minor);
}

// Refuse a GPU that TensorRT for RTX does not support: one that is neither in its table nor later than that.
void require_supported_gpu(const PlanLibrary &library, const PlanMachine &machine) {
    const std::string &here = machine.compute_capability;
    const bool named = std::any_of(generations().begin(), generations().end(),
                                   [&](const Generation &one) { return has(one.capabilities, here); });
    if (library.compiles_at_load && !named && numbers(here) <= numbers(generations().back().capabilities.back())) {
        throw Error(RNE_DEVICE, std::string(library.label) + " does not support " + device_name(machine) +
                                    ": build a plan of TensorRT there with `run-ssl build`");
    }
}

// Why a plan of TensorRT for RTX cannot run on a machine, or "".
// Source: NVIDIA's "Engine Compatibility" for TensorRT for RTX: no plan runs in another release of it.
std::string mismatch_at_load(const PlanLibrary &library, const Sidecar &sidecar, const PlanMachine &machine) {
    const TensorRtVersion built = parse_version(sidecar.tensorrt);
    const std::vector<std::string> &named = sidecar.compute_capabilities;
    if (machine.platform != "linux-x86_64" && machine.platform != "win32-amd64") {
        return "runs on linux-x86_64 and win32-amd64, this is " + machine.platform;
    }
    if (release(built) != release(machine.tensorrt)) {
        return std::string("was built by ") + library.label + " " + to_string(built) + ", this is " +
               to_string(machine.tensorrt);
    }
    const bool among =
        named.empty() ? numbers(machine.compute_capability) >= numbers("8.0") : has(named, machine.compute_capability);
    if (!among) {
        std::string number = machine.compute_capability;
        number.erase(std::remove(number.begin(), number.end(), '.'), number.end());
        return "is for " + describe_capabilities(named) + ", this is " + device_name(machine) +
               ", which `--compute-capability " + number + "` names";
    }
    return "";
}

// Why a plan cannot run on a machine, as the end of a sentence, or "".
std::string find_mismatch(const PlanLibrary &library, const Sidecar &sidecar, const PlanMachine &machine) {
    if (library.compiles_at_load) {
        return mismatch_at_load(library, sidecar, machine);
    }
    if (sidecar.platform != machine.platform) {
        return "was built on " + sidecar.platform + ", this is " + machine.platform;
    }
    const std::string version = version_mismatch(sidecar, machine.tensorrt);
    return version.empty() ? gpu_mismatch(sidecar, machine) : version;
}

} // namespace

std::string to_string(const TensorRtVersion &version) {
    return std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.patch) +
           "." + std::to_string(version.build);
}

TensorRtVersion parse_version(const std::string &text) {
    TensorRtVersion version;
    const char *at = text.c_str();
    if (!read_number(at, version.major) || *at++ != '.' || !read_number(at, version.minor)) {
        throw Error(RNE_BUNDLE, "'" + text +
                                    "' is no version, expected numbers such as 10.16.1.11: build the plan "
                                    "again with `run-ssl build`");
    }
    if (*at == '.' && read_number(++at, version.patch) && *at == '.') {
        read_number(++at, version.build);
    }
    return version;
}

std::string current_platform() {
#if defined(_WIN32)
    const std::string system = "win32-";
#elif defined(__linux__)
    const std::string system = "linux-";
#else
    const std::string system = "unknown-";
#endif
#if defined(__aarch64__) || defined(_M_ARM64)
    return system + "aarch64";
#elif defined(_M_X64)
    return system + "amd64";
#elif defined(__x86_64__)
    return system + "x86_64";
#else
    return system + "unknown";
#endif
}

std::string rebuild_command(const Bundle &bundle) {
    const PlanLibrary &library = *bundle.library;
    return std::string("build it again") + library.where + " with `run-ssl build " + bundle_name(bundle) +
           library.option + "`";
}

TensorRtVersion read_plan_header(const std::vector<std::uint8_t> &plan, const std::string &name,
                                 const PlanLibrary &library) {
    const std::string rebuild = std::string("build it again with `run-ssl build") + library.option + "`";
    const auto begins = [&](const PlanLibrary &one) {
        return plan.size() >= 4 && std::memcmp(plan.data(), one.tag, 4) == 0;
    };
    const PlanLibrary &other = other_library(library);
    if (is_wrapped(plan)) {
        throw Error(RNE_BUNDLE, name +
                                    " has JSON before the plan, as Ultralytics writes it: no TensorRT loader reads "
                                    "that; cut the wrapper off, or " +
                                    rebuild);
    }
    if (begins(other)) {
        throw Error(RNE_BUNDLE, name + " is a plan of " + other.label + ", which " + library.label +
                                    " does not load: " + other.label + "'s is named " + other.plan + "; " + rebuild);
    }
    if (!begins(library)) {
        throw Error(RNE_BUNDLE, name + " is not a " + library.label + " plan: it begins with " +
                                    python_bytes(plan.data(), std::min<std::size_t>(plan.size(), 4)) + ", not b'" +
                                    library.tag + "'; " + rebuild);
    }
    if (plan.size() < header_bytes) {
        throw Error(RNE_BUNDLE, name + " has " + std::to_string(plan.size()) +
                                    " bytes, less than a plan's header: it is truncated; " + rebuild);
    }
    const std::uint32_t serialisation = little_endian(plan.data() + 4);
    if (serialisation != 0) {
        throw Error(RNE_BUNDLE, name + " has serialisation version " + std::to_string(serialisation) +
                                    ", expected 0: it is from a " + library.label +
                                    " that this run-ssl does not know; " + rebuild + " and the " + library.label +
                                    " that is installed");
    }
    return {plan[24], plan[25], plan[26], plan[27]};
}

void require_plan(const Bundle &bundle) {
    if (bundle.plan.empty()) {
        const PlanLibrary &library = *bundle.library, &other = other_library(library);
        const std::string name = bundle.path.empty() ? "the bundle in memory" : bundle.path;
        const std::string only = bundle.has_other_plan
                                     ? std::string(", only ") + other.plan + ", which " + other.label + " alone loads"
                                     : "";
        throw Error(RNE_BUNDLE, name + " has no " + library.plan + only + ": build one" + library.where +
                                    " with `run-ssl build " + bundle_name(bundle) + library.option + "`");
    }
}

void check_plan(const Bundle &bundle, const PlanMachine &machine) {
    require_plan(bundle);
    const PlanLibrary &library = *bundle.library;
    require_supported_gpu(library, machine);
    const std::string file = file_name(bundle, library.plan), again = rebuild_command(bundle);
    if (!bundle.has_sidecar) {
        throw Error(RNE_BUNDLE, file + " has no readable " + library.sidecar +
                                    " beside it, so it is unknown what it was built from and for which GPU: " + again);
    }
    check_plan_file(bundle);
    const std::string problem = find_mismatch(library, bundle.sidecar, machine);
    if (!problem.empty()) {
        throw Error(RNE_DEVICE, file + " " + problem + ": " + again);
    }
}

} // namespace rne
