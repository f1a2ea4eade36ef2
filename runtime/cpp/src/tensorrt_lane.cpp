#include "tensorrt_lane.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "status.h"

namespace rne {
namespace {

// Batch sizes that a lane keeps a context and a graph for; the one unused for longest goes first.
constexpr std::size_t kept_sizes = 8;

bool is_aligned(const void *address) {
    return reinterpret_cast<std::uintptr_t>(address) % TensorRtLane::alignment_bytes == 0;
}

void copy(void *destination, const void *source, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    check_cuda(cudaMemcpyAsync(destination, source, bytes, kind, stream));
}

// Records what is enqueued on a stream from now on, until end() or, after a failure, the destructor.
class Capture {
public:
    explicit Capture(cudaStream_t stream) : stream_(stream) {
        // Thread-local: another thread may allocate memory meanwhile, which a global capture forbids.
        check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    }
    Capture(const Capture &) = delete;
    Capture &operator=(const Capture &) = delete;
    ~Capture() {
        // The stream can be used again after this; the status is the failure's echo.
        if (stream_ != nullptr && finish() != cudaSuccess) {
            cudaGetLastError();
        }
    }

    CudaGraph end() {
        check_cuda(finish());
        return std::move(graph_);
    }

private:
    cudaError_t finish() {
        cudaGraph_t graph = nullptr;
        const cudaError_t code = cudaStreamEndCapture(std::exchange(stream_, nullptr), &graph);
        graph_ = CudaGraph(graph);
        return code;
    }

    cudaStream_t stream_;
    CudaGraph graph_;
};

} // namespace

TensorRtLane::Buffers::Buffers(const PlanTensor &tensor, std::size_t batch)
    : device(make_device_buffer(batch * tensor.image_bytes)), host(make_pinned_buffer(batch * tensor.image_bytes)) {}

TensorRtLane::TensorRtLane(const TensorRtPlan &plan, std::size_t max_batch, bool cuda_graph)
    : plan_(plan), max_batch_(std::min(std::max(max_batch, plan.tensors().min_batch), plan.tensors().max_batch)),
      cuda_graph_(cuda_graph), stream_(make_stream()), finished_(make_event()),
      // An engine without scratch memory still wants an address.
      scratch_bytes_(std::max(plan.scratch_bytes(), alignment_bytes)) {
    scratch_ = make_device_buffer(scratch_bytes_);
    input_ = Buffers(plan.tensors().input, max_batch_);
    if (gives_logits()) {
        logits_ = Buffers(plan.tensors().logits, max_batch_);
    }
    embedding_ = Buffers(plan.tensors().embedding, max_batch_);
}

bool TensorRtLane::gives_logits() const { return plan_.tensors().logits.image_bytes != 0; }

TensorRtLane::~TensorRtLane() {
    // A batch may still run on the caller's stream, with these buffers.
    if (cudaEventSynchronize(finished_.get()) != cudaSuccess || cudaStreamSynchronize(stream_.get()) != cudaSuccess) {
        cudaGetLastError();
    }
}

void TensorRtLane::run(const void *input, std::size_t batch, void *logits, void *embedding) {
    const PlanTensors &tensors = plan_.tensors();
    const std::size_t run = std::max(batch, tensors.min_batch), bytes = batch * tensors.input.image_bytes;
    std::memcpy(input_.host.get(), input, bytes);
    // What fills a batch up to the profile's smallest is zeros: nothing is left of an earlier image.
    std::memset(static_cast<std::uint8_t *>(input_.host.get()) + bytes, 0, run * tensors.input.image_bytes - bytes);
    Recording &used = recording(run);
    check_cuda(cudaStreamWaitEvent(stream_.get(), finished_.get(), 0));
    start(used);
    check_cuda(cudaEventRecord(finished_.get(), stream_.get()));
    check_cuda(cudaStreamSynchronize(stream_.get()));
    if (gives_logits()) {
        std::memcpy(logits, logits_.host.get(), batch * tensors.logits.image_bytes);
    }
    std::memcpy(embedding, embedding_.host.get(), batch * tensors.embedding.image_bytes);
}

void TensorRtLane::run_on_stream(const void *input, std::size_t batch, void *logits, void *embedding,
                                 cudaStream_t stream) {
    check_cuda(cudaStreamWaitEvent(stream, finished_.get(), 0));
    try {
        enqueue_on_stream(input, batch, logits, embedding, stream);
    } catch (...) {
        // Part of it may have been enqueued: the next batch waits for that too.
        if (cudaEventRecord(finished_.get(), stream) != cudaSuccess) {
            cudaGetLastError();
        }
        throw;
    }
    check_cuda(cudaEventRecord(finished_.get(), stream));
}

void TensorRtLane::enqueue_on_stream(const void *input, std::size_t batch, void *logits, void *embedding,
                                     cudaStream_t stream) {
    const PlanTensors &tensors = plan_.tensors();
    const std::size_t run = std::max(batch, tensors.min_batch);
    Recording &used = recording(run);
    const void *source = place_input(input, batch, run, stream);
    // TensorRT writes the whole batch: one that is filled up does not fit into the caller's memory.
    void *logits_at = run == batch && is_aligned(logits) ? logits : logits_.device.get();
    void *embedding_at = run == batch && is_aligned(embedding) ? embedding : embedding_.device.get();
    execute(*used.context, source, logits_at, embedding_at, stream);
    if (gives_logits() && logits_at != logits) {
        copy(logits, logits_at, batch * tensors.logits.image_bytes, cudaMemcpyDeviceToDevice, stream);
    }
    if (embedding_at != embedding) {
        copy(embedding, embedding_at, batch * tensors.embedding.image_bytes, cudaMemcpyDeviceToDevice, stream);
    }
}

// Where TensorRT reads the input: the caller's memory, or a copy of it that is filled up with zeros.
const void *TensorRtLane::place_input(const void *input, std::size_t batch, std::size_t run, cudaStream_t stream) {
    if (run == batch && is_aligned(input)) {
        return input;
    }
    const std::size_t image = plan_.tensors().input.image_bytes;
    auto *own = static_cast<std::uint8_t *>(input_.device.get());
    copy(own, input, batch * image, cudaMemcpyDeviceToDevice, stream);
    if (run != batch) {
        check_cuda(cudaMemsetAsync(own + batch * image, 0, (run - batch) * image, stream));
    }
    return own;
}

// The context of a batch size, made now if there is none.
TensorRtLane::Recording &TensorRtLane::recording(std::size_t batch) {
    const auto found =
        std::find_if(recordings_.begin(), recordings_.end(), [&](const Recording &one) { return one.batch == batch; });
    if (found != recordings_.end()) {
        recordings_.splice(recordings_.begin(), recordings_, found);
        return recordings_.front();
    }
    if (recordings_.size() >= kept_sizes) {
        check_cuda(cudaEventSynchronize(finished_.get()));
        recordings_.pop_back();
    }
    Recording made;
    made.batch = batch;
    made.context = plan_.make_context(batch);
    made.context->setDeviceMemoryV2(scratch_.get(), static_cast<std::int64_t>(scratch_bytes_));
    recordings_.push_front(std::move(made));
    return recordings_.front();
}

// Start a batch that lies in the pinned memory.
void TensorRtLane::start(Recording &recording) {
    if (recording.graph) {
        check_cuda(cudaGraphLaunch(recording.graph.get(), stream_.get()));
        return;
    }
    enqueue(recording);
    if (cuda_graph_) {
        // The first run of a context may set things up, which no graph may record; so it is recorded after it.
        check_cuda(cudaStreamSynchronize(stream_.get()));
        recording.graph = record_graph(recording);
    }
}

CudaGraphExec TensorRtLane::record_graph(Recording &recording) {
    Capture capture(stream_.get());
    try {
        enqueue(recording);
    } catch (const Error &error) {
        throw Error(error.status(), std::string("no CUDA graph can be recorded: ") + error.what() +
                                        "; open the bundle with cuda_graph = 0");
    }
    const CudaGraph graph = capture.end();
    cudaGraphExec_t executable = nullptr;
    check_cuda(cudaGraphInstantiateWithFlags(&executable, graph.get(), 0));
    return CudaGraphExec(executable);
}

// Enqueue copy in, kernels and copies out on the lane's own stream and buffers.
void TensorRtLane::enqueue(Recording &recording) {
    const PlanTensors &tensors = plan_.tensors();
    const std::size_t batch = recording.batch;
    cudaStream_t stream = stream_.get();
    copy(input_.device.get(), input_.host.get(), batch * tensors.input.image_bytes, cudaMemcpyHostToDevice, stream);
    execute(*recording.context, input_.device.get(), logits_.device.get(), embedding_.device.get(), stream);
    if (gives_logits()) {
        copy(logits_.host.get(), logits_.device.get(), batch * tensors.logits.image_bytes, cudaMemcpyDeviceToHost,
             stream);
    }
    copy(embedding_.host.get(), embedding_.device.get(), batch * tensors.embedding.image_bytes, cudaMemcpyDeviceToHost,
         stream);
}

void TensorRtLane::execute(nvinfer1::IExecutionContext &context, const void *input, void *logits, void *embedding,
                           cudaStream_t stream) {
    const PlanTensors &tensors = plan_.tensors();
    if (!context.setInputTensorAddress(tensors.input.name.c_str(), input) ||
        (gives_logits() && !context.setTensorAddress(tensors.logits.name.c_str(), logits)) ||
        !context.setTensorAddress(tensors.embedding.name.c_str(), embedding)) {
        throw Error(RNE_BACKEND, "TensorRT refuses an address of an input or output: " + plan_.take_errors());
    }
    if (!context.enqueueV3(stream)) {
        throw Error(RNE_BACKEND, "TensorRT could not start the inference: " + plan_.take_errors());
    }
}

} // namespace rne
