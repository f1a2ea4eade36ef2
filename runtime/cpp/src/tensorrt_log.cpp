#include "tensorrt_log.h"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

namespace rne {
namespace {

// In one line, with single spaces.
std::string one_line(const char *message) {
    std::string line;
    for (const char *at = message == nullptr ? "" : message; *at != '\0'; at++) {
        if (!std::isspace(static_cast<unsigned char>(*at))) {
            line += *at;
        } else if (!line.empty() && line.back() != ' ') {
            line += ' ';
        }
    }
    while (!line.empty() && line.back() == ' ') {
        line.pop_back();
    }
    return line;
}

rne_log_level level_of(nvinfer1::ILogger::Severity severity) {
    switch (severity) {
    case nvinfer1::ILogger::Severity::kVERBOSE:
        return RNE_LOG_DEBUG;
    case nvinfer1::ILogger::Severity::kINFO:
        return RNE_LOG_INFO;
    case nvinfer1::ILogger::Severity::kWARNING:
        return RNE_LOG_WARNING;
    default:
        return RNE_LOG_ERROR;
    }
}

// Logs that no engine uses now. Never destroyed: TensorRT may log while the process ends.
struct LogPool {
    std::mutex mutex;
    std::vector<TensorRtLog *> idle;
};

LogPool &log_pool() {
    static LogPool *pool = new LogPool;
    return *pool;
}

} // namespace

void TensorRtLog::log(Severity severity, nvinfer1::AsciiChar const *message) noexcept {
    try {
        keep(severity, message);
    } catch (...) {
        // Nothing may leave this function, and a lost line of a log is no failure.
    }
}

void TensorRtLog::keep(Severity severity, const char *message) {
    const std::string line = one_line(message);
    const rne_log_level level = level_of(severity);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (level == RNE_LOG_ERROR) {
        errors_[count_++ % kept_errors] = line;
    }
    if (sink_) {
        sink_(level, line);
    }
}

std::string TensorRtLog::take_errors() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string text;
    for (std::size_t i = count_ - std::min(count_, kept_errors); i < count_; i++) {
        text += (text.empty() ? "" : "; ") + errors_[i % kept_errors];
    }
    count_ = 0;
    return text.empty() ? "it gives no reason" : text;
}

void TensorRtLog::set_sink(Log sink) {
    const std::lock_guard<std::mutex> lock(mutex_);
    sink_ = std::move(sink);
    count_ = 0;
}

void ReturnLog::operator()(TensorRtLog *log) const noexcept {
    try {
        log->set_sink(nullptr);
        LogPool &pool = log_pool();
        const std::lock_guard<std::mutex> lock(pool.mutex);
        pool.idle.push_back(log);
    } catch (...) {
        // Without memory for the list the log is silent and lost.
    }
}

LogLease take_log(Log sink) {
    LogLease log;
    LogPool &pool = log_pool();
    {
        const std::lock_guard<std::mutex> lock(pool.mutex);
        if (!pool.idle.empty()) {
            log.reset(pool.idle.back());
            pool.idle.pop_back();
        }
    }
    if (!log) {
        log.reset(new TensorRtLog);
    }
    log->set_sink(std::move(sink));
    return log;
}

} // namespace rne
