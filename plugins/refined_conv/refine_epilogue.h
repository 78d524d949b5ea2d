/* C ABI of the refined convolution's inner operator; see README.md for the mathematics.
 *
 * One call adds the residual term to a convolution's result, demodulates it, adds noise and bias
 * and activates: everything of a refined layer but the convolution itself. The same declarations
 * serve the CUDA build (pointers into device memory, asynchronous on a stream) and the host build
 * (pointers into host memory, the stream is ignored). */
#ifndef RS_REFINE_EPILOGUE_H
#define RS_REFINE_EPILOGUE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Element type of base, residual, P, noise and out. */
enum { RS_FLOAT32 = 0, RS_FLOAT16 = 1, RS_BFLOAT16 = 2 };

/* Memory order of base, residual and out. Noise is [M, H, W] and P is [N, L, C] in both. */
enum { RS_CHANNELS_FIRST = 0, RS_CHANNELS_LAST = 1 };

/* How base and residual lie on the output's H x W pixels.
 *   POINT: both have H x W pixels; the residual is added as it is.
 *   BOX:   both have H x W pixels; the residual is summed over 3 x 3 pixels first.
 *   UP:    base is the raw stride-2 transposed convolution, (H + 1) x (W + 1), and is blurred;
 *          the residual has H/2 x W/2 pixels and passes box, transposition and blur in one. */
enum { RS_POINT = 0, RS_BOX = 1, RS_UP = 2 };

enum { RS_OK = 0, RS_INVALID_ARGUMENT = 1, RS_LAUNCH_FAILED = 2 };

typedef struct {
  const void *base;
  const void *residual;      /* [N, C, ...], with P [N, L, ...]; NULL for rank 0 */
  const void *P;             /* [N, L, C]; NULL when the residual already has C channels */
  const float *demodulation; /* [N, C]; NULL for 1 */
  const void *noise;         /* [1 or N, H, W], times its strength; NULL for 0 */
  const float *bias;         /* [C]; NULL for 0 */
  void *out;                 /* [N, C, H, W]; overlaps no input */
  int32_t batch, channels, height, width, rank, noise_batch;
  int32_t dtype, layout, geometry;
  float slope, gain; /* y < 0 is multiplied by slope, then all by gain */
} RsRefineEpilogue;

/* Returns RS_OK or what is wrong. `stream` is a cudaStream_t. Never throws, never synchronises,
 * allocates nothing, keeps no state: any number of threads may call it. */
int rs_refine_epilogue(const RsRefineEpilogue *op, void *stream);

#ifdef __cplusplus
}
#endif
#endif
