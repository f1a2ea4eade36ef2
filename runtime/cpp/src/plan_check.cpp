#include "plan_check.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "sha256.h"
#include "status.h"

namespace rne {
namespace {

constexpr std::size_t header_bytes = 28;
constexpr char tag[] = "ftrt";
constexpr char rebuild[] = "build it again with `run-ssl build`";
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
    const std::string file = file_name(bundle, "model.plan"), again = rebuild_command(bundle);
    const TensorRtVersion version = read_plan_header(bundle.plan, file);
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
        throw Error(RNE_BUNDLE, file + " says TensorRT " + to_string(version) + ", but model.plan.json says " +
                                    sidecar.tensorrt + ": " + again);
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

// Why a plan cannot run on a machine, as the end of a sentence, or "".
std::string find_mismatch(const Sidecar &sidecar, const PlanMachine &machine) {
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
    return "build it again on this machine with `run-ssl build " + bundle_name(bundle) + "`";
}

TensorRtVersion read_plan_header(const std::vector<std::uint8_t> &plan, const std::string &name) {
    if (is_wrapped(plan)) {
        throw Error(RNE_BUNDLE, name +
                                    " has JSON before the plan, as Ultralytics writes it: no TensorRT loader reads "
                                    "that; cut the wrapper off, or " +
                                    rebuild);
    }
    if (plan.size() < 4 || std::memcmp(plan.data(), tag, 4) != 0) {
        throw Error(RNE_BUNDLE, name + " is not a TensorRT plan: it begins with " +
                                    python_bytes(plan.data(), std::min<std::size_t>(plan.size(), 4)) + ", not b'" +
                                    tag + "'; " + rebuild);
    }
    if (plan.size() < header_bytes) {
        throw Error(RNE_BUNDLE, name + " has " + std::to_string(plan.size()) +
                                    " bytes, less than a plan's header: it is truncated; " + rebuild);
    }
    const std::uint32_t serialisation = little_endian(plan.data() + 4);
    if (serialisation != 0) {
        throw Error(RNE_BUNDLE, name + " has serialisation version " + std::to_string(serialisation) +
                                    ", expected 0: it is from a TensorRT that this run-ssl does not know; " + rebuild +
                                    " and the TensorRT that is installed");
    }
    return {plan[24], plan[25], plan[26], plan[27]};
}

void require_plan(const Bundle &bundle) {
    if (bundle.plan.empty()) {
        const std::string name = bundle.path.empty() ? "the bundle in memory" : bundle.path;
        throw Error(RNE_BUNDLE, name + " has no model.plan: build one on this machine with `run-ssl build " +
                                    bundle_name(bundle) + "`");
    }
}

void check_plan(const Bundle &bundle, const PlanMachine &machine) {
    require_plan(bundle);
    const std::string file = file_name(bundle, "model.plan"), again = rebuild_command(bundle);
    if (!bundle.has_sidecar) {
        throw Error(RNE_BUNDLE, file +
                                    " has no readable model.plan.json beside it, so it is unknown what it was "
                                    "built from and for which GPU: " +
                                    again);
    }
    check_plan_file(bundle);
    const std::string problem = find_mismatch(bundle.sidecar, machine);
    if (!problem.empty()) {
        throw Error(RNE_DEVICE, file + " " + problem + ": " + again);
    }
}

} // namespace rne
