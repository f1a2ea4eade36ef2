// Contexts, a stream, buffers and CUDA graphs that run one batch at a time: runtime/engines/trt/lane.py in C++.
//
// All memory is allocated when the lane is opened, for its largest batch. For every batch size that comes there is one
// execution context and one CUDA graph of copy in, kernels, copies out; the contexts share the scratch memory, as only
// one of them runs at a time. TensorRT advises one context per captured graph.
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "cuda_check.h"
#include "tensorrt_plan.h"

namespace rne {

class TensorRtLane {
public:
    // TensorRT's rule for the addresses of inputs and outputs, IExecutionContext::setTensorAddress.
    static constexpr std::size_t alignment_bytes = 256;

    // max_batch: the caller's largest; the lane's own is within the plan's profile.
    TensorRtLane(const TensorRtPlan &plan, std::size_t max_batch, bool cuda_graph);
    TensorRtLane(const TensorRtLane &) = delete;
    TensorRtLane &operator=(const TensorRtLane &) = delete;
    ~TensorRtLane();

    std::size_t max_batch() const { return max_batch_; }
    // Host memory in and out, 1 to max_batch() images; waits.
    void run(const void *input, std::size_t batch, void *logits, void *embedding);
    // GPU memory in and out; nothing waits.
    void run_on_stream(const void *input, std::size_t batch, void *logits, void *embedding, cudaStream_t stream);

private:
    // Device and pinned host memory of a tensor.
    struct Buffers {
        Buffers() = default;
        Buffers(const PlanTensor &tensor, std::size_t batch);
        DeviceBuffer device;
        PinnedBuffer host;
    };
    // The context of one batch size, and its graph once it is recorded.
    struct Recording {
        std::size_t batch = 0;
        std::unique_ptr<nvinfer1::IExecutionContext> context;
        CudaGraphExec graph;
    };

    // Whether the network has a classifier; else logits may be null everywhere.
    bool gives_logits() const;
    Recording &recording(std::size_t batch);
    void start(Recording &recording);
    CudaGraphExec record_graph(Recording &recording);
    void enqueue(Recording &recording);
    void execute(nvinfer1::IExecutionContext &context, const void *input, void *logits, void *embedding,
                 cudaStream_t stream);
    const void *place_input(const void *input, std::size_t batch, std::size_t run, cudaStream_t stream);
    void enqueue_on_stream(const void *input, std::size_t batch, void *logits, void *embedding, cudaStream_t stream);

    const TensorRtPlan &plan_;
    std::size_t max_batch_;
    bool cuda_graph_;
    CudaStream stream_;
    CudaEvent finished_; // of the last batch, on whatever stream
    DeviceBuffer scratch_;
    std::size_t scratch_bytes_;
    Buffers input_;
    Buffers logits_;
    Buffers embedding_;
    std::list<Recording> recordings_; // the one used last first; destroyed before the memory that they use
};

} // namespace rne
