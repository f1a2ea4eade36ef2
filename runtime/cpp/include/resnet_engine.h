/* resnet_engine.h: runs the bundles of export-ssl, with the Python runtime's preprocessing to the bit.
 *
 *     #include <resnet_engine.h>
 *
 *     rne_params params = rne_default_params();
 *     rne_engine *engine = NULL;
 *     if (rne_open("ssl_resnet18-int8", &params, &engine) != RNE_OK) {
 *         fprintf(stderr, "%s\n", rne_last_error());
 *         return 1;
 *     }
 *     rne_info info = rne_get_info(engine);
 *     uint8_t *pixels = malloc(info.pixels_bytes);
 *     float *logits = malloc(info.classes * sizeof(float));
 *     rne_image image = {data, width, height, width * 3, RNE_RGB};
 *     if (rne_preprocess(engine, &image, pixels) != RNE_OK || rne_infer(engine, pixels, 1, logits, NULL) != RNE_OK) {
 *         fprintf(stderr, "%s\n", rne_last_error());
 *     }
 *     size_t best = 0;
 *     for (size_t i = 1; i < info.classes; i++)
 *         if (logits[i] > logits[best]) best = i;
 *     printf("%s\n", rne_label(engine, best));
 *     rne_close(engine);
 *
 * Every function that can fail returns a status; rne_last_error() says in one line what was given, what was
 * expected and the next step. No exception leaves the library, nothing in it calls exit().
 *
 * Threads: a handle is used by one thread at a time; open one handle per thread.
 *
 * Memory: everything is allocated by rne_open(). rne_preprocess() allocates only for an image that is larger than
 * any before it, rne_infer() never; what the back end does in its own call is its own affair.
 *
 * The weights' licence (rne_info.licence) holds for whatever is built on them.
 */
#ifndef RESNET_ENGINE_H
#define RESNET_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX < 0xFFFFFFFFFFFFFFFF
#error "resnet_engine is for 64-bit processors: use a compiler for 64 bits"
#endif

#if defined(_WIN32)
#if defined(RNE_BUILDING_SHARED)
#define RNE_API __declspec(dllexport)
#elif defined(RNE_SHARED)
#define RNE_API __declspec(dllimport)
#else
#define RNE_API
#endif
#else
#define RNE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of export-ssl, in this one place: CMakeLists.txt and pyproject.toml read these lines. A program built
 * against another major version, and before 1.0 against another minor version, does not fit the library. */
#define RNE_VERSION_MAJOR 0
#define RNE_VERSION_MINOR 1
#define RNE_VERSION_PATCH 0

typedef struct rne_engine rne_engine;

typedef enum rne_status {
    RNE_OK = 0,
    RNE_INVALID_ARGUMENT = 1, /* a null pointer, a size, a value that no call could use */
    RNE_BUNDLE = 2,           /* the bundle is absent, damaged, changed, or newer than this library */
    RNE_UNSUPPORTED = 3,      /* the back end was not built in, or cannot run this bundle */
    RNE_DEVICE = 4,           /* no driver, no GPU, or another one than the plan was built for */
    RNE_BACKEND = 5,          /* OpenVINO, onnxruntime or TensorRT reports an error */
    RNE_VERIFICATION = 6,     /* outputs differ from the golden ones by more than the bundle's tolerance */
    RNE_OUT_OF_MEMORY = 7
} rne_status;

typedef enum rne_backend {
    RNE_BACKEND_AUTO = 0, /* TensorRT where the bundle has a plan for this machine, else OpenVINO, or onnxruntime in a
                           * library without it */
    RNE_BACKEND_OPENVINO = 1,
    RNE_BACKEND_TENSORRT = 2,
    RNE_BACKEND_ONNXRUNTIME = 3 /* its CPU provider */
} rne_backend;

typedef enum rne_pixel_format {
    RNE_RGB = 0,  /* 3 bytes a pixel */
    RNE_GREY = 1, /* 1 byte, taken for all three colours */
    RNE_RGBA =
        2 /* 4 bytes; alpha is dropped, not blended, as the Python runtime does, but for a network that sees it */
} rne_pixel_format;

typedef enum rne_log_level {
    RNE_LOG_DEBUG = 0,
    RNE_LOG_INFO = 1,
    RNE_LOG_WARNING = 2,
    RNE_LOG_ERROR = 3
} rne_log_level;

/* Takes one line without its end. May be called from other threads than the one that opened the engine. */
typedef void (*rne_log_callback)(rne_log_level level, const char *message, void *user);

/* How to open a bundle. Always begin with rne_default_params(): later versions add fields at the end. */
typedef struct rne_params {
    size_t struct_bytes; /* set by rne_default_params() */
    rne_backend backend;
    int32_t max_batch;     /* largest batch of one rne_infer() call, >= 1; larger ones are refused. Default 1 */
    int32_t threads;       /* threads for one inference on a CPU; 0 leaves the back end's choice */
    int32_t check_hashes;  /* whether every file's sha256 is compared with the manifest's. Default 1 */
    const char *precision; /* OpenVINO's inference precision: "f32" (default), "bf16" or "f16". onnxruntime: "f32", or
                            * "f16", which lets an FP16 graph be added up in FP16 where the processor does so */
    int32_t cuda_graph;    /* TensorRT: whether a CUDA graph is recorded per batch size. Default 1 */
    const char *tensorrt_library; /* TensorRT: libnvinfer's path; NULL is libnvinfer.so.N of the headers' major */
    rne_log_callback log;         /* NULL is silence */
    void *log_user;
    int32_t images_upright; /* your promise, for a bundle whose images are turned by their EXIF orientation: that you
                             * turn them before rne_preprocess(), which refuses them otherwise. Default 0 */
    const char *onnxruntime_library; /* onnxruntime: libonnxruntime's path; NULL is the one that the loader finds */
} rne_params;

/* A bundle that is no directory; every buffer is read in rne_open_buffers() and may be freed after it. */
typedef struct rne_buffers {
    const void *manifest; /* bundle.json */
    size_t manifest_bytes;
    const void *model; /* model.onnx; may be NULL for TensorRT */
    size_t model_bytes;
    const void *plan; /* model.plan; NULL for OpenVINO */
    size_t plan_bytes;
    const void *sidecar; /* model.plan.json; NULL for OpenVINO */
    size_t sidecar_bytes;
    const void *labels; /* labels.txt; NULL for none */
    size_t labels_bytes;
} rne_buffers;

/* What is open. The strings live until rne_close(). */
typedef struct rne_info {
    const char *model;     /* "ssl_resnet18" */
    const char *precision; /* in the graph: "fp32", "fp16", "int8", "int8-fp16" */
    const char *executes;  /* what the back end says it computes in */
    const char *backend;   /* "openvino", "onnxruntime" or "tensorrt" */
    const char *licence;   /* SPDX identifier of the weights' licence */
    size_t classes;        /* 0 without a classifier: the embedding is then the only output */
    size_t embedding_dim;
    size_t image_height; /* of the network's input */
    size_t image_width;
    size_t pixels_bytes; /* of one preprocessed image: image_height * image_width * channels */
    size_t max_batch;
    int32_t exif_rotate;   /* whether images are to be turned by their EXIF orientation, by whoever decodes them */
    int32_t depth16_scale; /* what becomes of 16-bit grey when it is decoded: 1: the high byte, 0: clipped to 255 */
    size_t channels;       /* that the network sees: 1 is grey, 3 is RGB, 4 is RGB and alpha */
} rne_info;

/* An image in memory: rows of `width` pixels, `stride_bytes` apart. */
typedef struct rne_image {
    const uint8_t *data;
    size_t width;
    size_t height;
    size_t stride_bytes;
    rne_pixel_format format;
} rne_image;

/* What rne_self_check() found. Decibels are infinite where outputs are equal; without a classifier same_top1 is 0 and
 * logits_db infinite. */
typedef struct rne_check {
    size_t images;
    size_t same_top1;
    double logits_db;    /* SQNR against the PyTorch original */
    double embedding_db; /* likewise */
    double required_db;  /* the bundle's tolerance for what the back end executes */
} rne_check;

RNE_API rne_params rne_default_params(void);

/* Open a bundle's directory; *engine is NULL on failure. */
RNE_API rne_status rne_open(const char *bundle, const rne_params *params, rne_engine **engine);

/* Open a bundle that lies in memory. Without files there are no golden vectors: rne_self_check() refuses. */
RNE_API rne_status rne_open_buffers(const rne_buffers *buffers, const rne_params *params, rne_engine **engine);

/* Free everything. NULL is fine. */
RNE_API void rne_close(rne_engine *engine);

RNE_API rne_info rne_get_info(const rne_engine *engine);

/* The class's line of labels.txt, or "" where there is none. Lives until rne_close(). */
RNE_API const char *rne_label(const rne_engine *engine, size_t class_index);

/* From an image to the network's pixels: resize, centre crop; the bytes are the Python runtime's.
 * pixels: (image_height, image_width, channels) uint8. Of colours a network for grey images gets the luminance; one
 * that sees alpha gets 255 where the image has none. */
RNE_API rne_status rne_preprocess(rne_engine *engine, const rne_image *image, uint8_t *pixels);

/* Run a batch that lies in host memory, and wait for it. A graph of a fixed batch is run as often as the images need.
 * pixels: (batch, image_height, image_width, channels) uint8, 1 <= batch <= max_batch.
 * logits: (batch, classes) float32; embedding: (batch, embedding_dim) float32; either may be NULL. Without a
 * classifier there are no logits, and nothing is written there. */
RNE_API rne_status rne_infer(rne_engine *engine, const uint8_t *pixels, size_t batch, float *logits, float *embedding);

/* TensorRT: enqueue a batch that lies on the GPU on the caller's stream (a cudaStream_t), and return at once. The
 * addresses are multiples of 256. Nothing is copied, but for a batch outside the plan's profile. The engine runs one
 * batch at a time: the next call, on whatever stream, is ordered after this one. pixels: the network's input on the
 * GPU, (batch, image_height, image_width, channels) uint8; logits, embedding: as in rne_infer(), on the GPU, neither
 * NULL, but for logits without a classifier. */
RNE_API rne_status rne_infer_on_stream(rne_engine *engine, const void *pixels, size_t batch, void *logits,
                                       void *embedding, void *stream);

/* Run the bundle's golden images. RNE_VERIFICATION where the outputs differ by more than the bundle's tolerance;
 * `check` (may be NULL) is filled either way. */
RNE_API rne_status rne_self_check(rne_engine *engine, rne_check *check);

/* Why this thread's last failed call failed; "" where none has. Lives until the thread's next failing call. */
RNE_API const char *rne_last_error(void);

/* "1.2.3 openvino tensorrt-11": version and the back ends that were built in. */
RNE_API const char *rne_version(void);

/* Preprocessing without a bundle, for those who bring their own engine. */
typedef enum rne_resize_mode {
    RNE_SHORT = 0, /* the short side becomes resize_height, which equals resize_width; the aspect ratio is kept */
    RNE_COVER = 1, /* just large enough to cover resize_height x resize_width; the aspect ratio is kept */
    RNE_SQUASH = 2 /* both sides become resize_height x resize_width; the aspect ratio is lost */
} rne_resize_mode;

typedef struct rne_resize {
    size_t resize_height; /* before the crop */
    size_t resize_width;
    size_t image_height; /* of the centre crop, <= resize_height */
    size_t image_width;
    int32_t bicubic; /* 0: bilinear, 1: bicubic with a = -0.5; both antialiased */
    rne_resize_mode mode;
    rne_pixel_format colour; /* of the pixels: RNE_RGB; RNE_GREY, 1 byte; RNE_RGBA, 4 bytes, resized as Pillow does,
                              * with colours weighed by alpha */
} rne_resize;

typedef struct rne_preprocessor rne_preprocessor;

RNE_API rne_status rne_preprocessor_open(const rne_resize *resize, rne_preprocessor **preprocessor);
RNE_API rne_status rne_preprocessor_run(rne_preprocessor *preprocessor, const rne_image *image, uint8_t *pixels);
RNE_API void rne_preprocessor_close(rne_preprocessor *preprocessor);

#ifdef __cplusplus
}
#endif

#endif /* RESNET_ENGINE_H */
