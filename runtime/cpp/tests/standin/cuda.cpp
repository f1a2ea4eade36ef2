// CUDA's runtime over host memory; see standin.h.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "standin.h"

using standin::Inside;
using standin::machine;
using standin::status;
using Work = std::function<void()>;

struct CUstream_st {
    std::deque<Work> waiting;
    std::size_t done = 0; // pieces of work that have run
    std::unique_ptr<CUgraph_st> recording;

    std::size_t end() const { return done + waiting.size(); }
    void run_until(std::size_t mark) {
        while (done < mark && !waiting.empty()) {
            const Work work = std::move(waiting.front());
            waiting.pop_front();
            work();
            done++;
        }
    }
};
struct CUevent_st {
    cudaStream_t stream = nullptr;
    std::size_t mark = 0;
};
struct CUgraph_st {
    std::vector<Work> work;
};
struct CUgraphExec_st {
    std::vector<Work> work;
};

namespace {

// Streams that exist, so that an event of one that is gone counts as done.
std::vector<cudaStream_t> &streams() {
    static std::vector<cudaStream_t> all;
    return all;
}

CUstream_st &resolve(cudaStream_t stream) {
    static CUstream_st *standard = [] {
        streams().push_back(new CUstream_st);
        return streams().back();
    }();
    return stream == nullptr ? *standard : *stream;
}

void wait_for(const CUevent_st &event) {
    for (cudaStream_t stream : streams()) {
        if (stream == event.stream) {
            stream->run_until(event.mark);
        }
    }
}

bool any_capture() {
    for (cudaStream_t stream : streams()) {
        if (stream->recording) {
            return true;
        }
    }
    return false;
}

// Filled with a pattern: what nobody wrote is not zero by chance.
cudaError_t allocate(const char *function, void **memory, std::size_t bytes) {
    if (const cudaError_t code = status(function)) {
        return code;
    }
    if (any_capture()) {
        return machine().last_error = cudaErrorStreamCaptureUnsupported;
    }
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0xA5, bytes);
    machine().alive++;
    return cudaSuccess;
}

void run_everything() {
    for (cudaStream_t stream : streams()) {
        stream->run_until(stream->end());
    }
}

} // namespace

namespace standin {

Machine &machine() {
    static Machine machine;
    return machine;
}

int &Inside::depth() {
    static thread_local int depth = 0;
    return depth;
}

void enqueue(cudaStream_t stream, std::function<void()> work) {
    CUstream_st &used = resolve(stream);
    if (used.recording) {
        used.recording->work.push_back(std::move(work));
    } else {
        used.waiting.push_back(std::move(work));
    }
}

bool capturing(cudaStream_t stream) { return resolve(stream).recording != nullptr; }

} // namespace standin

extern "C" {

cudaError_t cudaMalloc(void **memory, std::size_t bytes) {
    const Inside inside("cudaMalloc");
    return allocate("cudaMalloc", memory, bytes);
}

cudaError_t cudaMallocHost(void **memory, std::size_t bytes) {
    const Inside inside("cudaMallocHost");
    return allocate("cudaMallocHost", memory, bytes);
}

cudaError_t cudaFree(void *memory) {
    const Inside inside("cudaFree");
    run_everything();
    std::free(memory);
    machine().alive--;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory) { return cudaFree(memory); }

cudaError_t cudaMemcpyAsync(void *to, const void *from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    STANDIN_CALL("cudaMemcpyAsync")
    standin::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, std::size_t bytes, cudaStream_t stream) {
    STANDIN_CALL("cudaMemsetAsync")
    standin::enqueue(stream, [=] { std::memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int) {
    STANDIN_CALL("cudaStreamCreateWithFlags")
    *stream = new CUstream_st;
    streams().push_back(*stream);
    machine().alive++;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    STANDIN_CALL("cudaStreamDestroy")
    stream->run_until(stream->end());
    for (std::size_t i = 0; i < streams().size(); i++) {
        if (streams()[i] == stream) {
            streams().erase(streams().begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    delete stream;
    machine().alive--;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    STANDIN_CALL("cudaStreamSynchronize")
    if (resolve(stream).recording) {
        return machine().last_error = cudaErrorStreamCaptureUnsupported;
    }
    resolve(stream).run_until(resolve(stream).end());
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
    STANDIN_CALL("cudaStreamWaitEvent")
    standin::enqueue(stream, [seen = *event] { wait_for(seen); });
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    STANDIN_CALL("cudaStreamBeginCapture")
    resolve(stream).recording = std::make_unique<CUgraph_st>();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    STANDIN_CALL("cudaStreamEndCapture")
    *graph = resolve(stream).recording.release();
    machine().alive++;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *found) {
    STANDIN_CALL("cudaStreamIsCapturing")
    *found = resolve(stream).recording ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int) {
    STANDIN_CALL("cudaEventCreateWithFlags")
    *event = new CUevent_st;
    machine().alive++;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    STANDIN_CALL("cudaEventDestroy")
    delete event;
    machine().alive--;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    STANDIN_CALL("cudaEventRecord")
    *event = {&resolve(stream), resolve(stream).end()};
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    STANDIN_CALL("cudaEventSynchronize")
    wait_for(*event);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long) {
    STANDIN_CALL("cudaGraphInstantiateWithFlags")
    *executable = new CUgraphExec_st{graph->work};
    machine().alive++;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    STANDIN_CALL("cudaGraphLaunch")
    for (const Work &work : executable->work) {
        standin::enqueue(stream, work);
    }
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    STANDIN_CALL("cudaGraphDestroy")
    delete graph;
    machine().alive--;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    STANDIN_CALL("cudaGraphExecDestroy")
    delete executable;
    machine().alive--;
    return cudaSuccess;
}

} // extern "C"
