// Failures inside the library: thrown as Error, caught at the C interface, told by rne_last_error().
#pragma once

#include <stdexcept>
#include <string>

#include "resnet_engine.h"

namespace rne {

// One line: what was given, what was expected, the next step.
class Error : public std::runtime_error {
public:
    Error(rne_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
    rne_status status() const { return status_; }

private:
    rne_status status_;
};

} // namespace rne
