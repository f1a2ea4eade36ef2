// The TensorRT back end at work, over the stand-in of CUDA and TensorRT.
#include <cstring>

#include "tensorrt_fixture.h"

using standin::machine;

namespace {

int calls(const char *function) { return machine().calls[function]; }

std::vector<int> range(int count) {
    std::vector<int> values;
    for (int i = 0; i < count; i++) {
        values.push_back(3 + i);
    }
    return values;
}

} // namespace

TEST(outputs_are_the_plans_for_every_batch_size) {
    const auto backend = open(make_bundle(network(1, 4)));
    for (int round = 0; round < 3; round++) {
        for (int batch = 1; batch <= 4; batch++) {
            CHECK(infers(*backend, range(batch)));
        }
    }
    CHECK(infers(*backend, {255, 0, 7}));
}

TEST(it_says_what_it_executes_and_in_which_tensorrt) {
    const auto backend = open(make_bundle(network(1, 4)));
    CHECK(backend->executes() == "int8-fp16 (TensorRT " + std::to_string(NV_TENSORRT_MAJOR) + ".16.1)");
    CHECK(std::string(backend->name()) == "tensorrt");
}

TEST(batches_larger_than_the_profile_are_split) {
    const auto backend = open(make_bundle(network(1, 4)), make_options(11));
    CHECK(infers(*backend, range(11)));
    CHECK(infers(*backend, range(8)));
}

TEST(batches_smaller_than_the_profile_are_filled_with_zeros) {
    const auto backend = open(make_bundle(network(3, 4)));
    CHECK(infers(*backend, {9, 8, 7, 6}));
    CHECK(infers(*backend, {5}));
    // The scratch memory holds the sum of every image that ran.
    const auto *sums = static_cast<const float *>(machine().scratch);
    CHECK(sums[0] == 60 && sums[1] == 0 && sums[2] == 0);
}

TEST(a_profile_that_begins_above_max_batch_still_runs) {
    const auto backend = open(make_bundle(network(4, 8)), make_options(1));
    CHECK(infers(*backend, {5}));
}

TEST(a_batch_that_is_fixed_in_the_graph_is_filled_up_and_split) {
    std::string fixed = network(2, 2);
    for (std::size_t at = fixed.find("-1"); at != std::string::npos; at = fixed.find("-1")) {
        fixed.replace(at, 2, "2");
    }
    const auto backend = open(make_bundle(fixed), make_options(5));
    CHECK(infers(*backend, range(5)));
    CHECK(infers(*backend, {1}));
}

TEST(normalised_float_input_is_taken_where_the_manifest_says_so) {
    Bundle bundle = make_bundle(
        "profile 1 4\nscratch 1000\ninput pixels 0 -1 3 2 2\noutput logits 0 -1 10\noutput embedding 0 -1 4\n");
    bundle.manifest.input_dtype = "float32";
    const auto backend = open(bundle);
    const std::vector<float> input(12, 0.5f);
    std::vector<float> logits(classes), embedding(embedding_dim);
    backend->infer(input.data(), 1, logits.data(), embedding.data());
    CHECK(logits[0] == 6 && logits[9] == 15 && embedding[3] == 1.5f);
}

TEST(a_network_without_a_classifier_gives_its_embedding_alone) {
    Bundle bundle = make_bundle("profile 1 4\nscratch 1000\ninput pixels 5 -1 2 2 3\noutput embedding 0 -1 4\n");
    bundle.manifest.classes = 0;
    bundle.manifest.logits_name.clear();
    const auto backend = open(bundle, make_options(6));
    const std::vector<int> values = range(6);
    const std::vector<std::uint8_t> pixels = images(values);
    std::vector<float> embedding(values.size() * embedding_dim);
    backend->infer(pixels.data(), values.size(), nullptr, embedding.data());
    DeviceBatch batch(values);
    backend->infer_on_stream(batch.pixels.memory, values.size(), nullptr, batch.embedding.memory, batch.stream);
    cudaStreamSynchronize(batch.stream);
    for (std::size_t n = 0; n < values.size(); n++) {
        // Every fourth number is a multiple of the image's first value.
        for (std::size_t d = 0; d < embedding_dim; d++) {
            const auto expected = static_cast<float>(static_cast<int>(d) * values[n]);
            CHECK(embedding[n * embedding_dim + d] == expected);
            CHECK(batch.embedding.floats()[n * embedding_dim + d] == expected);
        }
    }
}

TEST(a_plan_without_scratch_memory_runs) {
    std::string text = network(1, 4);
    text.replace(text.find("1000"), 4, "0");
    CHECK(infers(*open(make_bundle(text)), {1, 2}));
}

TEST(from_the_second_call_on_a_batch_size_is_one_graph_launch) {
    const auto backend = open(make_bundle(network(1, 4)));
    CHECK(infers(*backend, {1, 2}));
    // Once to run, once to record.
    CHECK(calls("enqueueV3") == 2 && calls("cudaGraphLaunch") == 0);
    CHECK(infers(*backend, {3, 4}));
    CHECK(calls("enqueueV3") == 2 && calls("cudaGraphLaunch") == 1 && calls("createExecutionContext") == 1);
}

TEST(without_graphs_every_call_enqueues) {
    BackendOptions options = make_options();
    options.cuda_graph = false;
    const auto backend = open(make_bundle(network(1, 4)), options);
    CHECK(infers(*backend, {1}) && infers(*backend, {2}));
    CHECK(calls("enqueueV3") == 2 && calls("cudaStreamBeginCapture") == 0 && calls("createExecutionContext") == 1);
}

TEST(eight_batch_sizes_are_kept_and_the_one_unused_for_longest_goes_first) {
    const auto backend = open(make_bundle(network(1, 12)), make_options(12));
    for (int batch = 1; batch <= 8; batch++) {
        CHECK(infers(*backend, range(batch)));
    }
    CHECK(infers(*backend, range(1)));
    const int alive = machine().alive;
    CHECK(infers(*backend, range(9)));
    CHECK(machine().alive == alive && calls("createExecutionContext") == 9);
    CHECK(infers(*backend, range(1)) && calls("createExecutionContext") == 9);
    CHECK(infers(*backend, range(2)) && calls("createExecutionContext") == 10);
}

TEST(contexts_share_their_scratch_memory) {
    const auto backend = open(make_bundle(network(1, 4)));
    CHECK(infers(*backend, {1}));
    const void *first = machine().scratch;
    CHECK(infers(*backend, {1, 2, 3}) && machine().scratch == first);
}

TEST(memory_is_allocated_when_the_plan_is_opened_and_never_again) {
    const auto backend = open(make_bundle(network(1, 4)), make_options(4));
    const int device = calls("cudaMalloc"), host = calls("cudaMallocHost");
    CHECK(infers(*backend, range(4)) && infers(*backend, range(2)));
    const std::vector<std::uint8_t> pixels = images(range(2));
    std::vector<float> logits(2 * classes), embedding(2 * embedding_dim);
    const std::size_t before = allocations();
    for (int i = 0; i < 5; i++) {
        backend->infer(pixels.data(), 2, logits.data(), embedding.data());
    }
    CHECK(allocations() == before);
    CHECK(calls("cudaMalloc") == device && calls("cudaMallocHost") == host);
}

TEST(a_call_on_a_stream_allocates_nothing_after_the_first) {
    const auto backend = open(make_bundle(network(1, 4)));
    const DeviceBatch batch({1, 2, 3});
    batch.start(*backend);
    const std::size_t before = allocations();
    batch.start(*backend);
    CHECK(allocations() == before);
}

TEST(closing_frees_everything) {
    {
        const auto backend = open(make_bundle(network(1, 4)));
        CHECK(infers(*backend, {1, 2}) && infers(*backend, {3}));
        CHECK(machine().alive > 0);
    }
    CHECK(machine().alive == 0);
}

TEST(a_call_on_a_stream_returns_before_anything_ran) {
    const auto backend = open(make_bundle(network(1, 4)));
    const DeviceBatch batch({1, 2, 3});
    batch.start(*backend);
    CHECK(!batch.done());
    cudaStreamSynchronize(batch.stream);
    CHECK(batch.done());
    CHECK(calls("cudaMemcpyAsync") == 0);
}

TEST(a_larger_batch_on_a_stream_is_split) {
    const auto backend = open(make_bundle(network(1, 4)), make_options(11));
    const DeviceBatch batch(range(11));
    batch.start(*backend);
    cudaStreamSynchronize(batch.stream);
    CHECK(batch.done());
}

TEST(a_smaller_batch_on_a_stream_is_filled_with_zeros_and_nothing_is_written_past_it) {
    const auto backend = open(make_bundle(network(3, 4)));
    CHECK(infers(*backend, {9, 8, 7, 6}));
    const DeviceBatch two({5, 6});
    DeviceBatch one({5, 6});
    one.values = {5};
    unsigned char before[4 * classes], after[4 * classes];
    std::memcpy(before, one.logits.floats() + classes, sizeof(before));
    one.start(*backend);
    cudaStreamSynchronize(one.stream);
    std::memcpy(after, one.logits.floats() + classes, sizeof(after));
    CHECK(one.done() && std::memcmp(before, after, sizeof(before)) == 0);
    const auto *sums = static_cast<const float *>(machine().scratch);
    CHECK(sums[0] == 60 && sums[1] == 0 && sums[2] == 0);
}

TEST(calls_on_two_streams_run_in_the_order_of_the_calls) {
    const auto backend = open(make_bundle(network(1, 4)));
    const DeviceBatch first({1, 2}), second({3, 4});
    first.start(*backend);
    second.start(*backend);
    cudaStreamSynchronize(second.stream);
    CHECK(first.done() && second.done());
}

TEST(a_call_that_waits_comes_after_one_on_a_stream) {
    const auto backend = open(make_bundle(network(1, 4)));
    CHECK(infers(*backend, {9, 9}));
    const DeviceBatch batch({1, 2});
    batch.start(*backend);
    CHECK(infers(*backend, {3, 4}));
    CHECK(batch.done());
}

TEST(closing_waits_for_what_runs_on_a_stream) {
    const DeviceBatch batch({1, 2});
    {
        const auto backend = open(make_bundle(network(1, 4)));
        batch.start(*backend);
    }
    CHECK(batch.done() && !machine().ran_destroyed);
}

TEST(a_context_is_not_thrown_away_while_it_runs_on_a_stream) {
    const auto backend = open(make_bundle(network(1, 12)), make_options(12));
    std::vector<std::unique_ptr<DeviceBatch>> batches;
    for (int size = 1; size <= 9; size++) {
        batches.push_back(std::make_unique<DeviceBatch>(range(size)));
        batches.back()->start(*backend);
    }
    cudaStreamSynchronize(batches.back()->stream);
    for (const auto &batch : batches) {
        CHECK(batch->done());
    }
    CHECK(!machine().ran_destroyed);
}

TEST(the_callers_gpu_is_current_again_after_every_call) {
    machine().devices = 2;
    machine().device = 1;
    {
        const auto backend = open(make_bundle(network(1, 4)));
        machine().device = 0;
        CHECK(infers(*backend, {1}));
        CHECK(machine().device == 0 && calls("cudaSetDevice") == 2);
    }
    CHECK(machine().device == 0 && calls("cudaSetDevice") == 4);
}

TEST(log_lines_reach_the_caller_until_the_engine_is_closed) {
    std::vector<std::string> lines;
    BackendOptions options = make_options();
    options.log = [&](rne_log_level level, const std::string &line) {
        CHECK(level == RNE_LOG_INFO);
        lines.push_back(line);
    };
    open(make_bundle(network(1, 4)), options);
    CHECK(lines == std::vector<std::string>{"Loaded engine"});
    // TensorRT still has the log of an engine that is closed.
    static_cast<nvinfer1::ILogger *>(machine().logger)->log(nvinfer1::ILogger::Severity::kERROR, "late");
    CHECK(lines.size() == 1);
    // The second engine has the first one's log, but not its callback.
    open(make_bundle(network(1, 4)));
    CHECK(lines.size() == 1);
}

TEST(only_version_compatible_plans_may_run_host_code) {
    Bundle bundle = make_bundle(network(1, 4));
    open(bundle);
    CHECK(!machine().host_code_allowed);
    bundle.sidecar.version_compatible = true;
    open(bundle);
    CHECK(machine().host_code_allowed);
}
