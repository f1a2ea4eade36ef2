// What kernels run, by onnxruntime's profile of one inference: runtime/engines/ort_session.py's profiled_precision().
#pragma once

#include <string>

namespace rne {

// A folder for one profile, deleted with all that is in it. Throws RNE_BACKEND where none can be made.
class ProfileFolder {
public:
    ProfileFolder();
    ~ProfileFolder();
    ProfileFolder(const ProfileFolder &) = delete;
    ProfileFolder &operator=(const ProfileFolder &) = delete;

    // Where onnxruntime's profile begins: it adds a time and an ending.
    std::string prefix() const { return path_ + "/profile"; }

private:
    std::string path_;
};

// The type that most convolutions computed in, "fp32", "fp16" or "int8"; "unknown" without one.
std::string profiled_precision(const std::string &path);

} // namespace rne
