/* RefineStyle's runtime behind a C ABI: pictures to latents and tokens, and back in any mix of
 * domains. C++ programs may prefer refinestyle.hpp, a header over this one.
 *
 *     refinestyle_runtime *runtime = NULL;
 *     refinestyle_tokens *sketch = NULL;
 *     refinestyle_picture *photo = NULL;
 *     refinestyle_inversion *portrait = NULL;
 *     double strength = 1;
 *     if (refinestyle_open("bundle", NULL, &runtime) ||
 *         refinestyle_find_tokens(runtime, "sketch=0.8", &sketch, &strength) ||
 *         refinestyle_read_picture("photo.jpg", &photo))
 *         return fputs(refinestyle_last_error(), stderr), 1;
 *     refinestyle_pixels pixels = refinestyle_picture_pixels(photo);
 *     if (refinestyle_invert(runtime, &pixels, 1, &portrait)) ...
 *     refinestyle_domain domain = {sketch, strength};
 *     refinestyle_mix mix = {&domain, 1, 1.0};
 *     refinestyle_synthesize(portrait, &mix, 1, result, size_of_result);
 *
 * Ownership. A function that fills a handle gives it to the caller, who ends it with the function
 * of that name ending in _free or _close; both take NULL. An inversion keeps what it needs of its
 * runtime: the two may be ended in any order. Token sets belong to no runtime. Nothing that is
 * passed in is kept after a call returns.
 *
 * Threads. All functions but _free and _close may be called on one handle from any number of
 * threads at once; runs of one graph go side by side. The text of refinestyle_last_error is the
 * calling thread's own.
 *
 * Failure. A function that can fail returns a status and leaves its outputs as they were. Nothing
 * is thrown, printed, or ended across this border, and no signal handler is installed. */
#ifndef REFINESTYLE_REFINESTYLE_H
#define REFINESTYLE_REFINESTYLE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(REFINESTYLE_BUILD)
#define REFINESTYLE_API __declspec(dllexport)
#elif defined(_WIN32)
#define REFINESTYLE_API __declspec(dllimport)
#else
#define REFINESTYLE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define REFINESTYLE_NOEXCEPT noexcept
extern "C" {
#else
#define REFINESTYLE_NOEXCEPT
#endif

/* What a call came to; equal to the exit status with which rs-run ends on such an error. */
typedef enum refinestyle_status {
  REFINESTYLE_OK = 0,
  REFINESTYLE_INTERNAL = 1,     /* a bug of this library */
  REFINESTYLE_USAGE = 2,        /* a wrong argument, a missing path, an unknown name */
  REFINESTYLE_MALFORMED = 3,    /* an input file is damaged or not what it claims to be */
  REFINESTYLE_UNSAFE = 4,       /* refused as unsafe: too large, a link in a bundle */
  REFINESTYLE_INCOMPATIBLE = 5, /* sound parts that do not fit: version, generator, engine */
  REFINESTYLE_RESOURCE = 6,     /* the machine lacks something: an engine, memory, disk space */
  REFINESTYLE_NUMERICS = 7      /* values that are not finite */
} refinestyle_status;

/* Version of the library, "major.minor.patch". */
REFINESTYLE_API const char* refinestyle_version(void) REFINESTYLE_NOEXCEPT;

/* Why this thread's last failed call failed: what failed, what was found and expected, and what
 * to do, one line each, UTF-8. "" if none has failed. Good until this thread's next failure. */
REFINESTYLE_API const char* refinestyle_last_error(void) REFINESTYLE_NOEXCEPT;

/* ------------------------------------------------------------------------------------ pictures */

/* RGB pixels in sRGB, 8 bits each, top row first, that somebody else owns. */
typedef struct refinestyle_pixels {
  const uint8_t* data;
  int32_t width;
  int32_t height;
  size_t row_bytes; /* from one row's start to the next one's; 0 means 3 * width */
} refinestyle_pixels;

/* A decoded picture file. */
typedef struct refinestyle_picture refinestyle_picture;

/* Reads a JPEG or PNG file: turned by its EXIF orientation, alpha over white, 16 bits by >> 8.
 * Files over 64 MB and pictures over 64 million pixels are refused. REFINESTYLE_RESOURCE in a
 * library that was built without picture files. */
REFINESTYLE_API refinestyle_status refinestyle_read_picture(
    const char* path, refinestyle_picture** picture) REFINESTYLE_NOEXCEPT;

/* The same of a file's bytes. */
REFINESTYLE_API refinestyle_status refinestyle_decode_picture(
    const void* data, size_t size, refinestyle_picture** picture) REFINESTYLE_NOEXCEPT;

/* Its pixels, good until the picture is freed. */
REFINESTYLE_API refinestyle_pixels refinestyle_picture_pixels(
    const refinestyle_picture* picture) REFINESTYLE_NOEXCEPT;

REFINESTYLE_API void refinestyle_picture_free(refinestyle_picture* picture) REFINESTYLE_NOEXCEPT;

/* Writes a PNG aside and renames it, so that a failure loses nothing that was there. */
REFINESTYLE_API refinestyle_status refinestyle_write_png(
    const char* path, const refinestyle_pixels* pixels) REFINESTYLE_NOEXCEPT;

/* ------------------------------------------------------------------------------------- runtime */

/* A bundle, ready to invert and to synthesize. */
typedef struct refinestyle_runtime refinestyle_runtime;

/* How a bundle is opened. Begin with refinestyle_default_options(). */
typedef struct refinestyle_options {
  const char* provider;    /* "auto", or one of refinestyle_providers(), which never falls back */
  const char* onnxruntime; /* path of ONNX Runtime's library; NULL: the loader's search */
  int32_t threads;         /* CPU threads of one run; 0 leaves the engine's default */
  int32_t allow_foreign;   /* 1: take token sets of another generator of the same shape */
  int32_t trust;           /* 1: do not hash the bundle's files, for signed applications */
} refinestyle_options;

REFINESTYLE_API refinestyle_options refinestyle_default_options(void) REFINESTYLE_NOEXCEPT;

/* Names of the providers that this library was built with, comma-separated, fastest first. */
REFINESTYLE_API const char* refinestyle_providers(void) REFINESTYLE_NOEXCEPT;

/* Opens a bundle's folder; NULL options are the defaults. Graphs are opened when first used. */
REFINESTYLE_API refinestyle_status refinestyle_open(const char* bundle,
                                                    const refinestyle_options* options,
                                                    refinestyle_runtime** runtime)
    REFINESTYLE_NOEXCEPT;

REFINESTYLE_API void refinestyle_close(refinestyle_runtime* runtime) REFINESTYLE_NOEXCEPT;

/* Side R in pixels of the pictures that it draws. */
REFINESTYLE_API int32_t refinestyle_resolution(const refinestyle_runtime* runtime)
    REFINESTYLE_NOEXCEPT;

/* The provider in use, "" while "auto" has not opened its first graph. */
REFINESTYLE_API const char* refinestyle_provider(const refinestyle_runtime* runtime)
    REFINESTYLE_NOEXCEPT;

/* The reconstruction error that 1 % of the pictures which the bundle knows exceed; NaN if the
 * bundle does not say. */
REFINESTYLE_API double refinestyle_error_limit(const refinestyle_runtime* runtime)
    REFINESTYLE_NOEXCEPT;

REFINESTYLE_API size_t refinestyle_domain_count(const refinestyle_runtime* runtime)
    REFINESTYLE_NOEXCEPT;

/* Name of a domain of the bundle, in alphabetical order; NULL if there is none of this index. */
REFINESTYLE_API const char* refinestyle_domain_name(const refinestyle_runtime* runtime,
                                                    size_t index) REFINESTYLE_NOEXCEPT;

/* ------------------------------------------------------------------------------------- domains */

/* A token set: what moves the generator into a domain, or refines it for one picture. */
typedef struct refinestyle_tokens refinestyle_tokens;

/* Finds a token set and checks that it was made for this bundle's generator. `text` is a path, or
 * a domain of the bundle with or without ".tokens"; an existing file comes first. A last "=NUMBER"
 * is the strength, 1 without; `strength` may be NULL if there is none. */
REFINESTYLE_API refinestyle_status refinestyle_find_tokens(const refinestyle_runtime* runtime,
                                                           const char* text,
                                                           refinestyle_tokens** tokens,
                                                           double* strength) REFINESTYLE_NOEXCEPT;

/* Reads a token set from the bytes of its file. */
REFINESTYLE_API refinestyle_status refinestyle_decode_tokens(const refinestyle_runtime* runtime,
                                                             const void* data, size_t size,
                                                             refinestyle_tokens** tokens)
    REFINESTYLE_NOEXCEPT;

REFINESTYLE_API const char* refinestyle_tokens_name(const refinestyle_tokens* tokens)
    REFINESTYLE_NOEXCEPT;

REFINESTYLE_API void refinestyle_tokens_free(refinestyle_tokens* tokens) REFINESTYLE_NOEXCEPT;

/* A token set and the factor on what it changes; any finite number, negative too. */
typedef struct refinestyle_domain {
  const refinestyle_tokens* tokens;
  double strength;
} refinestyle_domain;

/* What one sample is drawn with: domains, which add up, and the factor on its own tokens. */
typedef struct refinestyle_mix {
  const refinestyle_domain* domains;
  size_t count;
  double image_strength; /* 1 keeps the picture's own tokens or feature map as they are */
} refinestyle_mix;

/* ---------------------------------------------------------------------------------- inversions */

/* What N pictures became: latents and tokens. It never changes. */
typedef struct refinestyle_inversion refinestyle_inversion;

/* Finds the latents and tokens of `count` pictures of any sizes. */
REFINESTYLE_API refinestyle_status refinestyle_invert(const refinestyle_runtime* runtime,
                                                      const refinestyle_pixels* pictures,
                                                      size_t count,
                                                      refinestyle_inversion** inversion)
    REFINESTYLE_NOEXCEPT;

/* Brings back what refinestyle_save_tokens kept, to be restyled without its picture. */
REFINESTYLE_API refinestyle_status refinestyle_restore(const refinestyle_runtime* runtime,
                                                       const refinestyle_tokens* tokens,
                                                       refinestyle_inversion** inversion)
    REFINESTYLE_NOEXCEPT;

REFINESTYLE_API void refinestyle_inversion_free(refinestyle_inversion* inversion)
    REFINESTYLE_NOEXCEPT;

/* Number of pictures N. */
REFINESTYLE_API size_t refinestyle_inversion_count(const refinestyle_inversion* inversion)
    REFINESTYLE_NOEXCEPT;

/* Draws the N pictures: no mix reconstructs them, one is for all, N give each its own.
 * `pixels` gets N pictures, R rows of R RGB pixels each; `size` must be N * R * R * 3 bytes. */
REFINESTYLE_API refinestyle_status refinestyle_synthesize(const refinestyle_inversion* inversion,
                                                          const refinestyle_mix* mixes,
                                                          size_t mix_count, uint8_t* pixels,
                                                          size_t size) REFINESTYLE_NOEXCEPT;

/* For each picture the mean squared error of its reconstruction, in [-1, 1] units, at the smaller
 * of the inverter's and the generator's size. `count` must be N. An error above
 * refinestyle_error_limit says that the picture is probably not of the kind that the bundle knows. */
REFINESTYLE_API refinestyle_status refinestyle_reconstruction_errors(
    const refinestyle_inversion* inversion, double* errors, size_t count) REFINESTYLE_NOEXCEPT;

/* Writes the latent and tokens of one picture as a token set; the name is the file's stem. Bundles
 * of the model feature_shift give feature maps in the place of tokens, which no token set holds:
 * status 5. */
REFINESTYLE_API refinestyle_status refinestyle_save_tokens(const refinestyle_inversion* inversion,
                                                           size_t index, const char* path)
    REFINESTYLE_NOEXCEPT;

/* Draws random pictures: equal seeds give equal heads in all domains, here and in Python.
 * `truncation_psi` 1 draws the whole variety, 0 the average head; 0.7 is usual. Mixes and pixels
 * as in refinestyle_synthesize, without image strengths. */
REFINESTYLE_API refinestyle_status refinestyle_synth(const refinestyle_runtime* runtime,
                                                     const uint32_t* seeds, size_t count,
                                                     double truncation_psi,
                                                     const refinestyle_mix* mixes,
                                                     size_t mix_count, uint8_t* pixels,
                                                     size_t size) REFINESTYLE_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
