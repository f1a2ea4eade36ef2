"""The CUDA runtime as cuda-python shows it: each call returns a tuple whose first item is the status."""

# ruff: noqa: F401, N816
from cuda.bindings._device_calls import (
    cudaDeviceGetAttribute,
    cudaDriverGetVersion,
    cudaGetDevice,
    cudaGetDeviceCount,
    cudaGetDeviceProperties,
    cudaGetErrorName,
    cudaGetErrorString,
    cudaRuntimeGetVersion,
    cudaSetDevice,
)
from cuda.bindings._event_calls import (
    cudaEventCreate,
    cudaEventCreateWithFlags,
    cudaEventDestroy,
    cudaEventElapsedTime,
    cudaEventQuery,
    cudaEventRecord,
    cudaEventSynchronize,
    cudaStreamWaitEvent,
)
from cuda.bindings._memory_calls import (
    cudaFree,
    cudaFreeHost,
    cudaHostAlloc,
    cudaMalloc,
    cudaMallocHost,
    cudaMemcpy,
    cudaMemcpyAsync,
    cudaMemGetInfo,
    cudaMemset,
    cudaMemsetAsync,
)
from cuda.bindings._stream_calls import (
    cudaDeviceSynchronize,
    cudaGraphDestroy,
    cudaGraphExecDestroy,
    cudaGraphInstantiate,
    cudaGraphLaunch,
    cudaGraphUpload,
    cudaStreamBeginCapture,
    cudaStreamCreate,
    cudaStreamCreateWithFlags,
    cudaStreamDestroy,
    cudaStreamEndCapture,
    cudaStreamIsCapturing,
    cudaStreamQuery,
    cudaStreamSynchronize,
)
from cuda.bindings._types import (
    cudaDeviceAttr,
    cudaDeviceProp,
    cudaError_t,
    cudaEvent_t,
    cudaGraph_t,
    cudaGraphExec_t,
    cudaMemcpyKind,
    cudaStream_t,
    cudaStreamCaptureMode,
    cudaStreamCaptureStatus,
)

cudaStreamDefault = 0
cudaStreamLegacy = 1
cudaStreamPerThread = 2
cudaStreamNonBlocking = 1
cudaEventDefault = 0
cudaEventBlockingSync = 1
cudaEventDisableTiming = 2
cudaEventInterprocess = 4
cudaEventRecordDefault = 0
cudaEventWaitDefault = 0
cudaHostAllocDefault = 0
cudaHostAllocPortable = 1
cudaHostAllocMapped = 2
cudaHostAllocWriteCombined = 4
