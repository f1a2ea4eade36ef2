// TensorRT's log, handed on to rne_params.log.
#pragma once

#include <NvInferRuntime.h>
#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "backend.h"

namespace rne {

class TensorRtLog final : public nvinfer1::ILogger {
public:
    // From any thread of TensorRT's.
    void log(Severity severity, nvinfer1::AsciiChar const *message) noexcept override;

    // The last few errors in one line; they are forgotten with that.
    std::string take_errors();
    // Where every line goes from now on; null is nowhere.
    void set_sink(Log sink);

private:
    void keep(Severity severity, const char *message);

    static constexpr std::size_t kept_errors = 4;
    std::mutex mutex_;
    Log sink_;
    std::array<std::string, kept_errors> errors_;
    std::size_t count_ = 0;
};

struct ReturnLog {
    void operator()(TensorRtLog *log) const noexcept;
};
using LogLease = std::unique_ptr<TensorRtLog, ReturnLog>;

// A log for as long as an engine is open. TensorRT keeps the first one of a process as its global logger and may write
// to it later, so no log is ever freed: one that comes back falls silent and is given out again.
LogLease take_log(Log sink);

} // namespace rne
