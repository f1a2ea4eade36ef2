"""What benchmark_app and trtexec printed, shortened: lines were left out, none was changed unless it is said here."""

# OpenVINO 2026.4.1, an INT8 ResNet-18 at 64 pixels, `-hint latency`, two cores.
BENCHMARK_APP_MS = """\
[Step 4/11] Reading model files
[ INFO ] Loading model files
[ INFO ] Read model took 78.35 ms
[Step 7/11] Loading the model to the device
[ INFO ] Compile model took 171.29 ms
[ INFO ] Start of compilation memory usage: Peak 468056 KB
[Step 8/11] Querying optimal runtime parameters
[ INFO ] Model:
[ INFO ]   NETWORK_NAME: onnx_Frontend_IR
[ INFO ]   OPTIMAL_NUMBER_OF_INFER_REQUESTS: 1
[ INFO ]   NUM_STREAMS: 1
[ INFO ]   INFERENCE_NUM_THREADS: 2
[ INFO ]   INFERENCE_PRECISION_HINT: <Type: 'float32'>
[ INFO ]   PERFORMANCE_HINT: LATENCY
[Step 10/11] Measuring performance (Start inference synchronously, limits: 1000 ms duration)
[ INFO ] Benchmarking in inference only mode (inputs filling are not included in measurement loop).
[ INFO ] First inference took 87.66 ms
[Step 11/11] Dumping statistics report
[ INFO ] Execution Devices:['CPU']
[ INFO ] Count:            492 iterations
[ INFO ] Duration:         1003.65 ms
[ INFO ] Latency:
[ INFO ]    Median:        1.00 ms
[ INFO ]    Average:       1.99 ms
[ INFO ]    Min:           0.49 ms
[ INFO ]    Max:           9.32 ms
[ INFO ] Throughput:   490.21 FPS
"""

# The same version, a smaller network, `-hint none -nstreams 1 -nthreads 1`: below 1 ms it prints microseconds.
BENCHMARK_APP_US = """\
[ INFO ] Read model took 97.36 ms
[ INFO ] Compile model took 66.42 ms
[ INFO ]   NUM_STREAMS: 1
[ INFO ]   INFERENCE_NUM_THREADS: 1
[ INFO ]   INFERENCE_PRECISION_HINT: <Type: 'float32'>
[ INFO ]   PERFORMANCE_HINT: LATENCY
[ INFO ] First inference took 59.04 ms
[ INFO ] Execution Devices:['CPU']
[ INFO ] Count:            1335 iterations
[ INFO ] Duration:         1001.43 ms
[ INFO ] Latency:
[ INFO ]    Median:        321.77 us
[ INFO ]    Average:       727.39 us
[ INFO ]    Min:           251.65 us
[ INFO ]    Max:           6057.18 us
[ INFO ] Throughput:   1333.09 FPS
"""

# TensorRT 10.9 on a ResNet-50, from a public log; the lines of `Timing trace` and the explanation are from others.
TRTEXEC_10 = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v100900] [b34] # trtexec --onnx=resnet50/model.onnx --saveEngine=resnet50/model.trt
[04/07/2025-23:59:47] [I] Starting inference
[04/07/2025-23:59:50] [I] Warmup completed 142 queries over 200 ms
[04/07/2025-23:59:50] [I] Timing trace has 2077 queries over 3.0039 s
[04/07/2025-23:59:50] [I]
[04/07/2025-23:59:50] [I] === Trace details ===
[04/07/2025-23:59:50] [I] Trace averages of 10 runs:
[04/07/2025-23:59:50] [I] Average on 10 runs - GPU latency: 1.39878 ms - Host latency: 1.43972 ms (enqueue 0.261963 ms)
[04/07/2025-23:59:50] [I]
[04/07/2025-23:59:50] [I] === Performance summary ===
[04/07/2025-23:59:50] [I] Throughput: 691.435 qps
[04/07/2025-23:59:50] [I] Latency: min = 1.4209 ms, max = 3.047 ms, mean = 1.48372 ms, median = 1.43823 ms, percentile(90%) = 1.45624 ms, percentile(95%) = 1.71796 ms, percentile(99%) = 2.61597 ms
[04/07/2025-23:59:50] [I] Enqueue Time: min = 0.208801 ms, max = 0.461304 ms, mean = 0.263621 ms, median = 0.259033 ms, percentile(90%) = 0.293823 ms, percentile(95%) = 0.311768 ms, percentile(99%) = 0.402832 ms
[04/07/2025-23:59:50] [I] H2D Latency: min = 0.0258789 ms, max = 0.0687256 ms, mean = 0.0362824 ms, median = 0.0361328 ms, percentile(90%) = 0.0378418 ms, percentile(95%) = 0.0385742 ms, percentile(99%) = 0.0616455 ms
[04/07/2025-23:59:50] [I] GPU Compute Time: min = 1.38855 ms, max = 3.00439 ms, mean = 1.44357 ms, median = 1.39775 ms, percentile(90%) = 1.40308 ms, percentile(95%) = 1.67834 ms, percentile(99%) = 2.57642 ms
[04/07/2025-23:59:50] [I] D2H Latency: min = 0.00286865 ms, max = 0.00561523 ms, mean = 0.00387057 ms, median = 0.00366211 ms, percentile(90%) = 0.00488281 ms, percentile(95%) = 0.00500488 ms, percentile(99%) = 0.00537109 ms
[04/07/2025-23:59:50] [I] Total Host Walltime: 3.0039 s
[04/07/2025-23:59:50] [I] Total GPU Compute Time: 2.9983 s
[04/07/2025-23:59:50] [W] * GPU compute time is unstable, with coefficient of variance = 13.1794%.
[04/07/2025-23:59:50] [W]   If not already in use, locking GPU clock frequency or adding --useSpinWait may improve the stability.
[04/07/2025-23:59:50] [I] Explanations of the performance metrics are printed in the verbose logs.
[04/07/2025-23:59:50] [V] GPU Compute Time: the GPU latency to execute the kernels for a query.
[04/07/2025-23:59:50] [V] Latency: the summation of H2D Latency, GPU Compute Time, and D2H Latency. This is the latency to infer a single query.
[04/07/2025-23:59:50] [I]
&&&& PASSED TensorRT.trtexec [TensorRT v100900] [b34] # trtexec --onnx=resnet50/model.onnx --saveEngine=resnet50/model.trt
"""  # noqa: E501 - a log's lines are as long as they are

# Composed: the banner of 11.1 and the summary's form of 10.9 without data transfers, 11's default. No log of 11 was
# at hand.
TRTEXEC_11 = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v110100] [b106] # trtexec --loadEngine=model.plan --shapes=pixels:1x64x64x3
[11/24/2026-12:00:00] [I] TensorRT version: 11.1.0
[11/24/2026-12:00:03] [I] Timing trace has 16021 queries over 3.0002 s
[11/24/2026-12:00:03] [I] === Performance summary ===
[11/24/2026-12:00:03] [I] Throughput: 5340.1 qps
[11/24/2026-12:00:03] [I] Latency: min = 0.185303 ms, max = 0.941162 ms, mean = 0.190965 ms, median = 0.187378 ms, percentile(90%) = 0.188477 ms, percentile(95%) = 0.189453 ms, percentile(99%) = 0.208984 ms
[11/24/2026-12:00:03] [I] H2D Latency: min = 0 ms, max = 0 ms, mean = 0 ms, median = 0 ms, percentile(90%) = 0 ms, percentile(95%) = 0 ms, percentile(99%) = 0 ms
[11/24/2026-12:00:03] [I] GPU Compute Time: min = 0.185303 ms, max = 0.941162 ms, mean = 0.190965 ms, median = 0.187378 ms, percentile(90%) = 0.188477 ms, percentile(95%) = 0.189453 ms, percentile(99%) = 0.208984 ms
[11/24/2026-12:00:03] [I] D2H Latency: min = 0 ms, max = 0 ms, mean = 0 ms, median = 0 ms, percentile(90%) = 0 ms, percentile(95%) = 0 ms, percentile(99%) = 0 ms
&&&& PASSED TensorRT.trtexec [TensorRT v110100] [b106] # trtexec --loadEngine=model.plan --shapes=pixels:1x64x64x3
"""  # noqa: E501 - a log's lines are as long as they are

# How trtexec ends on a plan of another version.
TRTEXEC_FAILED = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v101600] [b11] # trtexec --loadEngine=model.plan
[11/24/2026-12:00:00] [E] Error[1]: [stdArchiveReader.h::stdArchiveReaderInitCommon::46] Error Code 1: Serialization
[11/24/2026-12:00:00] [E] Engine deserialization failed
[11/24/2026-12:00:00] [E] Inference set up failed
&&&& FAILED TensorRT.trtexec [TensorRT v101600] [b11] # trtexec --loadEngine=model.plan
"""

# The parts of the file of `-exec_graph_path` that count: an input, a constant, and three layers of two types.
EXECUTION_GRAPH = """\
<net name="g" version="11"><layers>
		<layer id="0" name="pixels" type="Input">
			<data shape="1,64,64,3" element_type="u8" execOrder="0" runtimePrecision="u8" />
			<output><port id="0" precision="U8"><dim>1</dim></port></output>
		</layer>
		<layer id="13" name="conv1/WithoutBiases" type="Convolution">
			<data execOrder="9" execTimeMcs="12" primitiveType="brgconv_avx512_vnni_I8" runtimePrecision="i8" />
		</layer>
		<layer id="14" name="a&lt;b" type="Convolution">
			<data execOrder="10" execTimeMcs="12" primitiveType="brgconv_avx512_vnni_I8" runtimePrecision="u8" />
		</layer>
		<layer id="15" name="fc" type="FullyConnected">
			<data execOrder="11" execTimeMcs="12" primitiveType="brgemm_avx512_FP32" runtimePrecision="f32" />
		</layer>
</layers></net>
"""
