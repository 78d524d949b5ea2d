/* The synthesis network as a C function: what rs_runtime's provider "native" calls.
 *
 *     rs_native *network = rs_native_open(bytes, size, threads, NULL, error, sizeof error);
 *     rs_native_run(network, w_plus, P, Q, style_offset, modulation, rank, image_float, image, &finite,
 *                   NULL);
 *     rs_native_close(network);
 *
 * Not a stable interface: the library and its callers are of one release.
 */
#ifndef REFINESTYLE_NATIVE_H
#define REFINESTYLE_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define RS_NATIVE_API __declspec(dllexport)
#else
#define RS_NATIVE_API __attribute__((visibility("default")))
#endif

typedef struct rs_native rs_native;

enum { RS_NATIVE_OK = 0, RS_NATIVE_STOPPED = 1, RS_NATIVE_MEMORY = 2 };

typedef struct {
  int32_t size, num_ws, w_dim;                /* picture [size][size], w_plus [num_ws][w_dim] */
  int64_t sum_out, sum_in, style_channels;    /* of P, of Q and modulation, of style_offset */
} rs_native_shape;

/* Reads a synthesis graph of rs_export (flat ONNX) and readies it. threads: of one run.
 * instructions: "avx512", "avx2", "baseline", or null for the fastest that there is.
 * Null on failure, with a line in `error`: "what|found|expected", or "memory". */
RS_NATIVE_API rs_native *rs_native_open(const uint8_t *bytes, size_t size, int32_t threads,
                                        const char *instructions, char *error, size_t error_size);

RS_NATIVE_API void rs_native_close(rs_native *network);

RS_NATIVE_API rs_native_shape rs_native_describe(const rs_native *network);

/* Draws one picture: P [rank][sum_out], Q [rank][sum_in], rank >= 1; image_float [3][size][size],
 * image [size][size][3], finite 1 where all of image_float is and else 0. Safe from several threads,
 * which wait for each other. stop may be null; once another thread sets it to other than 0, the run
 * ends before its next block of layers. */
RS_NATIVE_API int32_t rs_native_run(rs_native *network, const float *w_plus, const float *P,
                                    const float *Q, const float *style_offset,
                                    const float *modulation, int32_t rank, float *image_float,
                                    uint8_t *image, uint8_t *finite, const int32_t *stop);

typedef struct rs_native_trunk rs_native_trunk;

typedef struct {
  int32_t in, size;      /* picture [in][size][size] */
  int32_t channels[3];   /* of the taps, [channels][size / 4][size / 4], … / 8, … / 16 */
} rs_native_trunk_shape;

/* Reads the trunk of an encoder's graph, of pictures [size][size]; else as rs_native_open. */
RS_NATIVE_API rs_native_trunk *rs_native_trunk_open(const uint8_t *bytes, size_t size,
                                                    int32_t picture, int32_t threads,
                                                    const char *instructions, char *error,
                                                    size_t error_size);

RS_NATIVE_API void rs_native_trunk_close(rs_native_trunk *trunk);

RS_NATIVE_API rs_native_trunk_shape rs_native_trunk_describe(const rs_native_trunk *trunk);

/* The taps of one picture; else as rs_native_run. */
RS_NATIVE_API int32_t rs_native_trunk_run(rs_native_trunk *trunk, const float *picture,
                                          float *quarter, float *eighth, float *sixteenth,
                                          const int32_t *stop);

/* The fastest instruction set of this machine's: "avx512", "avx2" or "baseline". */
RS_NATIVE_API const char *rs_native_instructions(void);

#ifdef __cplusplus
}
#endif
#endif
