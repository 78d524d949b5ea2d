// Forward and inverse transforms of `algorithms.h` along one axis, on vectors of channels.
// Included by kernels.cpp alone, inside the namespace of its instruction set.

template <Algorithm kAlgorithm>
struct Of {
  static constexpr Algorithm algorithm = kAlgorithm;
  static constexpr AlgorithmShape shape = shape_of(kAlgorithm);
};

struct KeepDirect : Of<Algorithm::kKeepDirect> {
  static void forward(const vec* x, vec* v) {
    for (int i = 0; i < 3; ++i) v[i] = x[i];
  }
  static void inverse(const vec* p, vec* y) { y[0] = p[0] + p[1] + p[2]; }
};

struct KeepWinograd : Of<Algorithm::kKeepWinograd> {
  static void forward(const vec* x, vec* v) {
    const vec even = x[4] - 4 * x[2], odd = x[3] - 4 * x[1];
    const vec far = x[4] - x[2], across = 2 * (x[3] - x[1]);
    v[0] = 4 * x[0] - 5 * x[2] + x[4];
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = far + across;
    v[4] = far - across;
    v[5] = 4 * x[1] - 5 * x[3] + x[5];
  }
  static void inverse(const vec* p, vec* y) {
    const vec near_sum = p[1] + p[2], near_gap = p[1] - p[2];
    const vec far_sum = p[3] + p[4], far_gap = p[3] - p[4];
    y[0] = p[0] + near_sum + far_sum;
    y[1] = near_gap + 2 * far_gap;
    y[2] = near_sum + 4 * far_sum;
    y[3] = near_gap + 8 * far_gap + p[5];
  }
};

struct UpDirect : Of<Algorithm::kUpDirect> {
  static void forward(const vec* x, vec* v) {
    v[0] = x[1];
    v[1] = x[0];
    v[2] = x[1];
  }
  static void inverse(const vec* p, vec* y) {
    y[0] = p[0] + p[1];
    y[1] = p[2];
  }
};

struct UpWinograd : Of<Algorithm::kUpWinograd> {
  static void forward(const vec* x, vec* v) {
    v[0] = 2 * x[0] - x[1] - 2 * x[2] + x[3];
    v[1] = x[3] - x[2] - 2 * x[1];
    v[2] = x[3] - 3 * x[2] + 2 * x[1];
    v[3] = x[3] - x[1];
    v[4] = 2 * x[1] - x[2] - 2 * x[3] + x[4];
    for (int i = 0; i < 4; ++i) v[5 + i] = x[1 + i];
  }
  static void inverse(const vec* p, vec* y) {
    const vec sum = p[1] + p[2], gap = p[1] - p[2];
    y[0] = p[0] + sum + p[3];
    y[2] = gap + 2 * p[3];
    y[4] = sum + 4 * p[3];
    y[6] = gap + 8 * p[3] + p[4];
    for (int i = 0; i < 4; ++i) y[1 + 2 * i] = p[5 + i];
  }
};

struct DownDirect : Of<Algorithm::kDownDirect> {
  static void forward(const vec* x, vec* v) { KeepDirect::forward(x, v); }
  static void inverse(const vec* p, vec* y) { KeepDirect::inverse(p, y); }
};

struct DownWinograd : Of<Algorithm::kDownWinograd> {
  static void forward(const vec* x, vec* v) {
    v[0] = 2 * x[0] - x[2] - 2 * x[4] + x[6];
    v[1] = x[6] - x[4] - 2 * x[2];
    v[2] = x[6] - 3 * x[4] + 2 * x[2];
    v[3] = x[6] - x[2];
    v[4] = 2 * x[2] - x[4] - 2 * x[6] + x[8];
    for (int i = 0; i < 4; ++i) v[5 + i] = x[1 + 2 * i];
  }
  static void inverse(const vec* p, vec* y) {
    const vec sum = p[1] + p[2], gap = p[1] - p[2];
    y[0] = p[0] + sum + p[3] + p[5];
    y[1] = gap + 2 * p[3] + p[6];
    y[2] = sum + 4 * p[3] + p[7];
    y[3] = gap + 8 * p[3] + p[4] + p[8];
  }
};

struct DownPoint : Of<Algorithm::kDownPoint> {
  static void forward(const vec* x, vec* v) { v[0] = x[1]; }
  static void inverse(const vec* p, vec* y) { y[0] = p[0]; }
};
