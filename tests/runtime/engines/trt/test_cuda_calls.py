"""The stand-in of cuda.bindings: deferred work, graphs, captures, memory; names as cuda-python's."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.tensorrt_bindings.standin.scripts import run_script


def test_copies_happen_only_when_somebody_waits():
    run_script(
        """
        source, view = pinned(4)
        target, result = pinned(4)
        view[:], result[:] = 7, 1
        device = ok(c.cudaMalloc(4))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        event = ok(c.cudaEventCreateWithFlags(c.cudaEventDisableTiming))
        ok(c.cudaMemcpyAsync(device, source, 4, TO_DEVICE, stream))
        ok(c.cudaMemcpyAsync(target, device, 4, TO_HOST, stream))
        ok(c.cudaEventRecord(event, stream))
        assert list(result) == [1] * 4
        assert c.cudaEventQuery(event) == (E.cudaErrorNotReady,)
        ok(c.cudaEventSynchronize(event))
        assert list(result) == [7] * 4
        """
    )


def test_an_event_waits_for_what_came_before_it_alone():
    run_script(
        """
        source, view = pinned(2)
        target, result = pinned(2)
        view[:], result[:] = (1, 2), 0
        first, second = (ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking)) for _ in range(2))
        event = ok(c.cudaEventCreateWithFlags(0))
        host = K.cudaMemcpyHostToHost
        ok(c.cudaMemcpyAsync(target, source, 1, host, first))
        ok(c.cudaEventRecord(event, first))
        ok(c.cudaMemcpyAsync(target + 1, source + 1, 1, host, first))
        ok(c.cudaStreamWaitEvent(second, event, 0))
        ok(c.cudaStreamSynchronize(second))
        assert list(result) == [1, 0]
        ok(c.cudaStreamSynchronize(first))
        assert list(result) == [1, 2]
        """
    )


def test_wrong_copies_are_refused():
    run_script(
        """
        host, _ = pinned(16)
        device = ok(c.cudaMalloc(16))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        wrong = (E.cudaErrorInvalidValue,)
        assert c.cudaMemcpyAsync(device, host, 16, TO_HOST, stream) == wrong
        assert c.cudaMemcpyAsync(device, host, 17, TO_DEVICE, stream) == wrong
        assert c.cudaMemcpyAsync(device + 8, host, 9, TO_DEVICE, stream) == wrong
        assert c.cudaMemcpyAsync(0, host, 1, TO_DEVICE, stream) == wrong
        assert c.cudaFree(host) == wrong and c.cudaFreeHost(device) == wrong
        ok(c.cudaFree(device))
        assert c.cudaFree(device) == wrong
        assert c.cudaMemcpyAsync(device, host, 16, TO_DEVICE, stream) == wrong
        raises(TypeError, lambda: c.cudaMemcpyAsync(device, host, 16, 1, stream))
        raises(TypeError, lambda: c.cudaMalloc(1.5))
        assert c.cudaStreamSynchronize(12345) == (E.cudaErrorInvalidResourceHandle,)
        """
    )


def test_a_graph_records_without_running_and_replays():
    run_script(
        """
        source, view = pinned(4)
        target, result = pinned(4)
        view[:], result[:] = 3, 0
        device = ok(c.cudaMalloc(4))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        ok(c.cudaStreamBeginCapture(stream, c.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
        ok(c.cudaMemcpyAsync(device, source, 4, TO_DEVICE, stream))
        ok(c.cudaMemcpyAsync(target, device, 4, TO_HOST, stream))
        graph = ok(c.cudaStreamEndCapture(stream))
        executable = ok(c.cudaGraphInstantiate(graph, 0))
        ok(c.cudaGraphDestroy(graph))
        ok(c.cudaStreamSynchronize(stream))
        assert list(result) == [0] * 4
        for value in (5, 6):
            view[:] = value
            ok(c.cudaGraphLaunch(executable, stream))
            ok(c.cudaStreamSynchronize(stream))
            assert list(result) == [value] * 4
        ok(c.cudaGraphExecDestroy(executable))
        assert c.cudaGraphLaunch(executable, stream) == (E.cudaErrorInvalidResourceHandle,)
        """
    )


def test_a_capture_forbids_waiting_and_allocating():
    run_script(
        """
        modes, unsupported = c.cudaStreamCaptureMode, E.cudaErrorStreamCaptureUnsupported
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        for call in (lambda: c.cudaStreamSynchronize(stream), lambda: c.cudaMalloc(4), c.cudaDeviceSynchronize):
            ok(c.cudaStreamBeginCapture(stream, modes.cudaStreamCaptureModeThreadLocal))
            assert call()[0] == unsupported
            assert c.cudaStreamEndCapture(stream) == (E.cudaErrorStreamCaptureInvalidated, None)
        ok(c.cudaStreamBeginCapture(stream, modes.cudaStreamCaptureModeRelaxed))
        ok(c.cudaMalloc(4))
        ok(c.cudaStreamEndCapture(stream))
        ok(c.cudaStreamSynchronize(stream))
        """
    )


def test_another_thread_may_allocate_during_a_thread_local_capture():
    run_script(
        """
        import threading
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        for mode, expected in ((c.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal, E.cudaSuccess),
                               (c.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal, E(900))):
            ok(c.cudaStreamBeginCapture(stream, mode))
            found = []
            thread = threading.Thread(target=lambda: found.append(c.cudaMalloc(4)[0]))
            thread.start()
            thread.join()
            c.cudaStreamEndCapture(stream)
            assert found == [expected], found
        """
    )


def test_live_allocations_are_counted():
    run_script(
        """
        assert allocated() == (0, 0)
        device, (host, _) = ok(c.cudaMalloc(100)), pinned(28)
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        assert allocated() == (2, 128) and live_objects()["streams"] == 1
        ok(c.cudaFree(device)); ok(c.cudaFreeHost(host)); ok(c.cudaStreamDestroy(stream))
        assert allocated() == (0, 0) and not any(live_objects().values())
        """
    )


def test_cuda_names_and_numbers_are_those_of_the_installed_cuda_python():
    script = """
        import json, enum
        from cuda.bindings import runtime as c
        names = [n for n in dir(c) if n.startswith("cuda")]
        enums = {n: {m.name: int(m) for m in getattr(c, n)} for n in names
                 if isinstance(getattr(c, n), type) and hasattr(getattr(c, n), "__members__")}
        ints = {n: getattr(c, n) for n in names if type(getattr(c, n)) is int}
        print(json.dumps([enums, ints, [n for n in names if callable(getattr(c, n))]]))
        """
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    real = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    if real.returncode:
        pytest.skip("cuda-python is not installed")
    (enums, ints, calls), (own_enums, own_ints, own_calls) = json.loads(real.stdout), json.loads(run_script(script))
    assert own_enums
    for name, members in own_enums.items():
        assert {member: enums[name][member] for member in members} == members
    assert {name: ints[name] for name in own_ints} == own_ints
    assert set(own_calls) <= set(calls)


def test_cuda_texts_of_errors_are_those_of_the_installed_cuda_python():
    script = """
        from cuda.bindings import runtime as c
        for number in (0, 1, 2, 3, 4, 21, 35, 100, 101, 400, 600, 700, 719, *range(900, 909), 999):
            print(number, *(f(c.cudaError_t(number))[1].decode() for f in (c.cudaGetErrorName, c.cudaGetErrorString)))
        """
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    real = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    if real.returncode:
        pytest.skip("cuda-python is not installed")
    assert run_script(script).splitlines() == real.stdout.splitlines()
