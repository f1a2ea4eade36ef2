// What the TensorRT back end says where it cannot go on, over the stand-in of CUDA and TensorRT.
#include "tensorrt_fixture.h"

using standin::machine;

namespace {

// A plan's text with one part replaced.
Bundle changed(const std::string &from, const std::string &to) {
    std::string text = network(1, 4);
    return make_bundle(text.replace(text.find(from), from.size(), to));
}

} // namespace

TEST(without_a_driver_nothing_of_tensorrt_is_called) {
    machine().driver = 0;
    const Error error = open_failure(make_bundle(network(1, 4)));
    CHECK(error.status() == RNE_DEVICE);
    CHECK(std::string(error.what()) == "there is no NVIDIA driver: install it, or use a machine with an NVIDIA GPU");
    CHECK(machine().calls["createInferRuntime"] == 0);
}

TEST(without_a_gpu_the_line_says_so) {
    machine().devices = 0;
    const Error error = open_failure(make_bundle(network(1, 4)));
    CHECK(error.status() == RNE_DEVICE);
    CHECK(std::string(error.what()) == "CUDA finds no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES");
}

TEST(a_driver_that_is_too_old_is_named_with_cudas_words) {
    machine().failing["cudaGetDeviceCount"] = cudaErrorInsufficientDriver;
    const Error error = open_failure(make_bundle(network(1, 4)));
    CHECK(error.status() == RNE_DEVICE);
    CHECK_TEXT(std::string(error.what()), "CUDA error 35, CUDA driver version is insufficient");
    CHECK(machine().calls["createInferRuntime"] == 0 && machine().last_error == cudaSuccess);
}

TEST(a_library_that_is_not_there_is_named) {
    BackendOptions options = make_options();
    options.tensorrt_library = "/nowhere/libnvinfer.so";
    const Error error = open_failure(make_bundle(network(1, 4)), options);
    CHECK(error.status() == RNE_BACKEND);
    CHECK_TEXT(std::string(error.what()), "/nowhere/libnvinfer.so");
    CHECK_TEXT(std::string(error.what()), "LD_LIBRARY_PATH");
}

TEST(without_a_path_the_library_of_the_headers_major_is_opened) {
    BackendOptions options = make_options();
    options.tensorrt_library.clear();
    const std::string name = "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
    CHECK_TEXT(std::string(open_failure(make_bundle(network(1, 4)), options).what()), name.c_str());
}

TEST(a_library_of_another_major_is_refused_before_it_is_used) {
    BackendOptions options = make_options();
    options.tensorrt_library = library_folder() + "/libnvinfer_other.so";
    const Error error = open_failure(make_bundle(network(1, 4)), options);
    CHECK(error.status() == RNE_BACKEND);
    CHECK_TEXT(std::string(error.what()), "libnvinfer_other.so is TensorRT 9.3.0.0, this library was built for");
    CHECK(machine().calls["createInferRuntime"] == 0);
}

TEST(a_library_that_is_no_libnvinfer_is_refused) {
    BackendOptions options = make_options();
    options.tensorrt_library = "libm.so.6";
    CHECK_TEXT(std::string(open_failure(make_bundle(network(1, 4)), options).what()), "is not TensorRT's libnvinfer");
}

TEST(a_plan_for_another_gpu_is_refused_before_it_is_loaded) {
    machine().gpu = "Tesla T4";
    machine().capability_minor = 5;
    machine().capability_major = 7;
    const Error error = open_failure(make_bundle(network(1, 4)));
    CHECK(error.status() == RNE_DEVICE);
    CHECK(std::string(error.what()) ==
          "/some/bundle/model.plan was built for NVIDIA A100 80GB PCIe (compute capability 8.0), this is Tesla T4 "
          "(compute capability 7.5): build it again on this machine with `run-ssl build /some/bundle`");
    CHECK(machine().calls["createInferRuntime"] == 0);
}

TEST(auto_learns_why_a_plan_does_not_fit) {
    std::string reason = "before";
    Bundle bundle = make_bundle(network(1, 4));
    CHECK(rne::tensorrt_fits(bundle, make_options(), reason) && reason.empty());
    bundle.plan.back() ^= 1;
    CHECK(!rne::tensorrt_fits(bundle, make_options(), reason));
    CHECK_TEXT(reason, "was changed after it was built");
    bundle.plan.clear();
    CHECK(!rne::tensorrt_fits(bundle, make_options(), reason));
    CHECK_TEXT(reason, "/some/bundle has no model.plan: build one on this machine");
}

TEST(tensorrts_own_words_are_in_the_line) {
    machine().trt_message = "Error Code 1:\n  Serialization  (magic tag)\n";
    machine().trt_failure = "deserialise";
    CHECK_TEXT(std::string(open_failure(make_bundle(network(1, 4))).what()),
               "cannot load the plan (Error Code 1: Serialization (magic tag)): build it again on this machine");
    machine().trt_failure = "runtime";
    CHECK_TEXT(std::string(open_failure(make_bundle(network(1, 4))).what()), "does not start (Error Code 1:");
    CHECK(machine().alive == 0);
}

TEST(every_step_that_fails_is_told_and_mended_by_the_next_call) {
    for (const char *step : {"context", "shape", "address", "enqueue", "capture"}) {
        {
            const auto backend = open(make_bundle(network(1, 4)));
            machine().trt_failure = step;
            machine().trt_message = std::string("no ") + step;
            const Error error = failure([&] { infers(*backend, {1, 2}); });
            CHECK(error.status() == RNE_BACKEND);
            CHECK_TEXT(std::string(error.what()), machine().trt_message.c_str());
            machine().trt_failure.clear();
            CHECK(infers(*backend, {1, 2}) && infers(*backend, {3, 4}));
        }
        CHECK(machine().alive == 0);
    }
}

TEST(a_graph_that_cannot_be_recorded_names_the_way_round) {
    const auto backend = open(make_bundle(network(1, 4)));
    machine().trt_failure = "capture";
    CHECK_TEXT(std::string(failure([&] { infers(*backend, {1}); }).what()), "open the bundle with cuda_graph = 0");
}

TEST(a_gpu_without_memory_is_out_of_memory_and_nothing_is_left) {
    for (const char *function : {"cudaMalloc", "cudaMallocHost"}) {
        machine().failing = {{function, cudaErrorMemoryAllocation}};
        const Error error = open_failure(make_bundle(network(1, 4)));
        CHECK(error.status() == RNE_OUT_OF_MEMORY);
        CHECK_TEXT(std::string(error.what()), "CUDA error 2, out of memory: free GPU memory");
        CHECK(machine().alive == 0 && machine().last_error == cudaSuccess);
    }
}

TEST(every_function_of_cudas_that_fails_is_told_and_nothing_is_left) {
    for (const char *function : {"cudaGetDeviceProperties", "cudaStreamCreateWithFlags", "cudaEventCreateWithFlags",
                                 "cudaMemcpyAsync", "cudaStreamWaitEvent", "cudaEventRecord", "cudaStreamSynchronize",
                                 "cudaStreamBeginCapture", "cudaGraphInstantiateWithFlags", "cudaGetDevice"}) {
        const Error error = failure([&] {
            machine().failing = {{function, cudaErrorIllegalAddress}};
            infers(*open(make_bundle(network(1, 4))), {1, 2});
        });
        CHECK_TEXT(std::string(error.what()), "CUDA error 700, an illegal memory access was encountered");
        machine().failing.clear();
        CHECK(machine().alive == 0 && machine().last_error == cudaSuccess);
    }
}

TEST(a_graph_launch_that_fails_is_told) {
    const auto backend = open(make_bundle(network(1, 4)));
    CHECK(infers(*backend, {1}));
    machine().failing["cudaGraphLaunch"] = cudaErrorIllegalAddress;
    CHECK(failure([&] { infers(*backend, {1}); }).status() == RNE_BACKEND);
}

TEST(a_call_on_a_stream_that_fails_halfway_keeps_the_order) {
    const auto backend = open(make_bundle(network(1, 4)));
    const DeviceBatch first({1, 2}), second({3, 4});
    first.start(*backend);
    machine().trt_failure = "enqueue";
    CHECK_TEXT(std::string(failure([&] { second.start(*backend); }).what()), "could not start the inference");
    machine().trt_failure.clear();
    CHECK(infers(*backend, {5, 6}));
    CHECK(first.done());
}

TEST(addresses_that_are_not_aligned_are_refused_by_name) {
    const auto backend = open(make_bundle(network(1, 4)));
    const DeviceBatch batch({1, 2});
    const Error error = failure([&] {
        backend->infer_on_stream(batch.pixels.memory, 1, batch.logits.floats() + 1, batch.embedding.memory,
                                 batch.stream);
    });
    CHECK(error.status() == RNE_INVALID_ARGUMENT);
    CHECK_TEXT(std::string(error.what()), "the address of logits is no multiple of 256");
}

TEST(a_stream_that_is_being_captured_is_refused) {
    const auto backend = open(make_bundle(network(1, 4)));
    const DeviceBatch batch({1, 2});
    cudaStreamBeginCapture(batch.stream, cudaStreamCaptureModeThreadLocal);
    const Error error = failure([&] { batch.start(*backend); });
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(batch.stream, &graph);
    cudaGraphDestroy(graph);
    CHECK(error.status() == RNE_UNSUPPORTED);
    CHECK_TEXT(std::string(error.what()), "end the capture first");
}

TEST(a_plan_with_other_tensors_than_the_manifests_is_refused) {
    CHECK_TEXT(std::string(open_failure(changed("output logits", "output scores")).what()),
               "the plan has tensors pixels, scores, embedding, the bundle pixels, logits, embedding: build it again");
    CHECK_TEXT(std::string(open_failure(changed("output embedding 0 -1 4\n", "")).what()), "the plan has tensors");
    CHECK_TEXT(std::string(open_failure(changed("input pixels", "output pixels")).what()), "the plan has tensors");
    CHECK_TEXT(std::string(open_failure(changed("pixels 5", "pixels 0")).what()),
               "the plan's pixels is (N, 2, 2, 3) float32, the bundle's (N, 2, 2, 3) uint8: build it again");
    CHECK_TEXT(std::string(open_failure(changed("logits 0 -1 10", "logits 1 -1 10")).what()),
               "the plan's logits is (N, 10) float16, the bundle's (N, 10) float32");
    CHECK_TEXT(std::string(open_failure(changed("-1 4\n", "-1 5\n")).what()), "the plan's embedding is (N, 5) float32");
    CHECK_TEXT(std::string(open_failure(changed("profile 1 4", "profile 0 0")).what()), "no profile for the batch");
    CHECK(open_failure(changed("logits", "scores")).status() == RNE_BUNDLE && machine().alive == 0);
}
