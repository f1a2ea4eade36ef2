/* Stands in for libnvinfer, libnvinfer_plugin and libnvonnxparser, so that NVIDIA's Python bindings import without them.
 *
 * Every function returns NULL, as the real libraries do where CUDA cannot be initialised: enums, plain classes and
 * subclassing work, and `Builder(logger)` raises "factory function returned nullptr" after an error in the log.
 */
#include <stddef.h>
#include <stdint.h>

typedef void (*LogFunction)(void* self, int32_t severity, char const* message);

/* nvinfer1::ILogger::log among its virtual functions, by the Itanium C++ ABI: the first one in 10.x, the fifth in 11,
 * after those of IVersionedInterface. A wrong place is a crash or a test that fails, not one that passes. */
static LogFunction find_log(void* logger, int32_t version)
{
    LogFunction const* table = *(LogFunction const**) logger;
    return table[version / 10000 >= 11 ? 4 : 0];
}

void* createInferBuilder_INTERNAL(void* logger, int32_t version)
{
    int32_t const error = 1;
    find_log(logger, version)(logger, error, "CUDA initialization failure with error: 35");
    return NULL;
}

#define RETURNS_NULL(name) \
    void* name(void)       \
    {                      \
        return NULL;       \
    }

RETURNS_NULL(createInferRefitter_INTERNAL)
RETURNS_NULL(createInferRuntime_INTERNAL)
RETURNS_NULL(getPluginRegistry)
RETURNS_NULL(getBuilderPluginRegistry)
RETURNS_NULL(initLibNvInferPlugins)
RETURNS_NULL(createNvOnnxParser_INTERNAL)
RETURNS_NULL(createNvOnnxParserRefitter_INTERNAL)
RETURNS_NULL(getNvOnnxParserVersion)
