// Counts the allocations of the library under test. In a file of its own: g++ warns where it sees both ends.
#include <new>

#include "tensorrt_fixture.h"

std::size_t &allocations() {
    static std::size_t count = 0;
    return count;
}

// Counted only where the library under test allocates.
void *operator new(std::size_t bytes) {
    if (standin::Inside::depth() == 0) {
        allocations()++;
    }
    if (void *memory = std::malloc(bytes)) {
        return memory;
    }
    throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
