// Element types and vector access that compile for the device and for the host.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define RS_INLINE __host__ __device__ __forceinline__
#define RS_UNROLL _Pragma("unroll")
#else
#define RS_INLINE inline
#define RS_UNROLL
#endif

namespace rs {

#if defined(__CUDACC__)
using Half = __half;
using BFloat16 = __nv_bfloat16;
RS_INLINE float to_float(Half value) { return __half2float(value); }
RS_INLINE float to_float(BFloat16 value) { return __bfloat162float(value); }
template <typename T>
RS_INLINE T from_float(float value);
template <>
RS_INLINE Half from_float<Half>(float value) {
  return __float2half_rn(value);
}
template <>
RS_INLINE BFloat16 from_float<BFloat16>(float value) {
  return __float2bfloat16_rn(value);
}
#else
using Half = _Float16;
struct BFloat16 {
  std::uint16_t bits;
};
inline float to_float(Half value) { return static_cast<float>(value); }
inline float to_float(BFloat16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
template <typename T>
inline T from_float(float value);
template <>
inline Half from_float<Half>(float value) {
  return static_cast<Half>(value);
}
template <>
inline BFloat16 from_float<BFloat16>(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};  // NaN stays one
  bits += 0x7FFFu + (bits >> 16 & 1u);  // to nearest, ties to even
  return {static_cast<std::uint16_t>(bits >> 16)};
}
#endif
RS_INLINE float to_float(float value) { return value; }
template <>
RS_INLINE float from_float<float>(float value) {
  return value;
}

// V neighbouring elements in fp32; the arithmetic between one load and one store is all in fp32.
template <int V>
struct Lanes {
  float v[V];
};

template <int V>
RS_INLINE Lanes<V> zeros() {
  Lanes<V> lanes;
  RS_UNROLL
  for (int i = 0; i < V; ++i) lanes.v[i] = 0.0f;
  return lanes;
}

template <int V>
RS_INLINE void add_scaled(Lanes<V>& sum, float scale, const Lanes<V>& term) {
  RS_UNROLL
  for (int i = 0; i < V; ++i) sum.v[i] += scale * term.v[i];
}

#if defined(__CUDACC__)
template <int Bytes>
struct Word;
template <>
struct Word<16> {
  using type = uint4;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<4> {
  using type = unsigned int;
};
template <>
struct Word<2> {
  using type = unsigned short;
};
#endif

// Bytes of one access: 16 at most.
template <typename T, int V>
constexpr int kAccessBytes = V * sizeof(T) < 16 ? V * sizeof(T) : 16;

// Read V elements with accesses as wide as can be; `from` is aligned to min(16, all) bytes.
template <typename T, int V>
RS_INLINE Lanes<V> load(const T* from) {
  T elements[V];
#if defined(__CUDA_ARCH__)
  constexpr int bytes = kAccessBytes<T, V>;
  using W = typename Word<bytes>::type;
  W words[V * sizeof(T) / bytes];
  RS_UNROLL
  for (int i = 0; i < int(V * sizeof(T) / bytes); ++i) {
    words[i] = __ldg(reinterpret_cast<const W*>(from) + i);
  }
  memcpy(elements, words, sizeof elements);
#else
  std::memcpy(elements, from, sizeof elements);
#endif
  Lanes<V> lanes;
  RS_UNROLL
  for (int i = 0; i < V; ++i) lanes.v[i] = to_float(elements[i]);
  return lanes;
}

template <typename T, int V>
RS_INLINE void store(T* to, const Lanes<V>& lanes) {
  T elements[V];
  RS_UNROLL
  for (int i = 0; i < V; ++i) elements[i] = from_float<T>(lanes.v[i]);
#if defined(__CUDA_ARCH__)
  constexpr int bytes = kAccessBytes<T, V>;
  using W = typename Word<bytes>::type;
  W words[V * sizeof(T) / bytes];
  memcpy(words, elements, sizeof elements);
  RS_UNROLL
  for (int i = 0; i < int(V * sizeof(T) / bytes); ++i) reinterpret_cast<W*>(to)[i] = words[i];
#else
  std::memcpy(to, elements, sizeof elements);
#endif
}

}  // namespace rs
