/* Stands in for libnvinfer, libnvinfer_plugin and libnvonnxparser, so that NVIDIA's Python bindings import without them.
 *
 * Every function returns NULL, which is what the real libraries return when CUDA cannot be initialised: enums, plain
 * classes and subclassing work, and `Builder(logger)` raises "factory function returned nullptr".
 */
#include <stddef.h>

#define RETURNS_NULL(name) \
    void* name(void)       \
    {                      \
        return NULL;       \
    }

RETURNS_NULL(createInferBuilder_INTERNAL)
RETURNS_NULL(createInferRefitter_INTERNAL)
RETURNS_NULL(createInferRuntime_INTERNAL)
RETURNS_NULL(getPluginRegistry)
RETURNS_NULL(getBuilderPluginRegistry)
RETURNS_NULL(initLibNvInferPlugins)
RETURNS_NULL(createNvOnnxParser_INTERNAL)
RETURNS_NULL(createNvOnnxParserRefitter_INTERNAL)
RETURNS_NULL(getNvOnnxParserVersion)
