// A plan that TensorRT has loaded, and what it takes and gives.
#pragma once

#include <NvInferRuntime.h>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "tensorrt_library.h"

namespace rne {

struct PlanTensor {
    std::string name;
    nvinfer1::Dims shape{};      // with the batch as the first dimension
    std::size_t image_bytes = 0; // of one image's part
};

struct PlanTensors {
    PlanTensor input;
    PlanTensor logits; // of no bytes without a classifier
    PlanTensor embedding;
    std::size_t min_batch = 1; // of the profile
    std::size_t max_batch = 1;
};

class TensorRtPlan {
public:
    // Load a bundle's plan, which check_plan() let pass, and compare it with the manifest. Throws RNE_BACKEND.
    TensorRtPlan(const TensorRtLibrary &library, const Bundle &bundle, Log log);

    const PlanTensors &tensors() const { return tensors_; }
    std::size_t scratch_bytes() const;
    // The context of one batch size, without scratch memory yet.
    std::unique_ptr<nvinfer1::IExecutionContext> make_context(std::size_t batch) const;
    // Why TensorRT failed just now, from its log.
    std::string take_errors() const { return log_->take_errors(); }

private:
    // In this order: what is declared later is destroyed earlier.
    LogLease log_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
#ifdef RNE_WITH_TENSORRT_RTX
    std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
#endif
    PlanTensors tensors_;
};

} // namespace rne
