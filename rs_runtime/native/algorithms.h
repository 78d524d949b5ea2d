// How a 3x3 layer is computed tile by tile: bilinear algorithms, which turn a convolution into
// products of matrices, one for each "point".
//
//     y = inverse( weight points . forward(x) ), along rows and along columns alike
//
// Of the size-keeping layer y[i] = sum_k w[k] x[i+k-1], and of the up layer y = x * w with stride 2,
// y[2i] = w[0] x[i] + w[2] x[i-1], y[2i+1] = w[1] x[i], each has a direct form, whose points are
// the taps, and a Winograd form (Toom-Cook at 0, 1, -1, 2, -2 and infinity): F(4,3) for the first;
// for the second F(4,2) of the even outputs beside the odd ones as they are.
//
// The down layer y[i] = sum_k w[k] x[2i+k-1] is the up layer turned round: F(4,2) of the odd pixels
// beside the even ones as they are. Its "point" form is a 1x1 kernel on every second pixel.
//
//                     multiplications an output of both axes     direct
//     keep             36 / 16 = 2.25                              9
//     up               81 / 64 = 1.27                              2.25
//     down             81 / 16 = 5.06                              9
//
// Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.
#pragma once

namespace refinestyle::native {

enum class Algorithm {
  kKeepDirect, kKeepWinograd, kUpDirect, kUpWinograd, kDownDirect, kDownWinograd, kDownPoint
};

// Along one axis.
struct AlgorithmShape {
  int in;        // input pixels that a tile reads, the first of them one before the tile
  int step;      // input pixels from a tile to the next
  int out;       // outputs of a tile
  int points;    // products of a tile
  int distinct;  // different weights among the points; from the last of them on, all have that one
};

constexpr AlgorithmShape shape_of(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kKeepDirect: return {3, 1, 1, 3, 3};
    case Algorithm::kKeepWinograd: return {6, 4, 4, 6, 6};
    case Algorithm::kUpDirect: return {2, 1, 2, 3, 3};
    case Algorithm::kUpWinograd: return {5, 4, 8, 9, 6};
    case Algorithm::kDownDirect: return {3, 2, 1, 3, 3};
    case Algorithm::kDownWinograd: return {9, 8, 4, 9, 6};
    case Algorithm::kDownPoint: return {2, 2, 1, 1, 1};
  }
  return {};
}

// Weight points of taps (w0, w1, w2) along one axis, [distinct][3].
constexpr double kKeepDirectWeights[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
constexpr double kKeepWinogradWeights[6][3] = {
    {1.0 / 4, 0, 0},           {-1.0 / 6, -1.0 / 6, -1.0 / 6}, {-1.0 / 6, 1.0 / 6, -1.0 / 6},
    {1.0 / 24, 1.0 / 12, 1.0 / 6}, {1.0 / 24, -1.0 / 12, 1.0 / 6}, {0, 0, 1}};
constexpr double kUpDirectWeights[3][3] = {{1, 0, 0}, {0, 0, 1}, {0, 1, 0}};
constexpr double kUpWinogradWeights[6][3] = {{0, 0, 1.0 / 2},         {-1.0 / 2, 0, -1.0 / 2},
                                             {1.0 / 6, 0, -1.0 / 6},  {1.0 / 3, 0, 1.0 / 6},
                                             {1, 0, 0},               {0, 1, 0}};
constexpr double kDownWinogradWeights[6][3] = {{1.0 / 2, 0, 0},        {-1.0 / 2, 0, -1.0 / 2},
                                               {-1.0 / 6, 0, 1.0 / 6}, {1.0 / 6, 0, 1.0 / 3},
                                               {0, 0, 1},              {0, 1, 0}};
constexpr double kDownPointWeights[1][3] = {{0, 1, 0}};

constexpr const double (*weights_of(Algorithm algorithm))[3] {
  switch (algorithm) {
    case Algorithm::kKeepDirect: return kKeepDirectWeights;
    case Algorithm::kKeepWinograd: return kKeepWinogradWeights;
    case Algorithm::kUpDirect: return kUpDirectWeights;
    case Algorithm::kUpWinograd: return kUpWinogradWeights;
    case Algorithm::kDownDirect: return kKeepDirectWeights;
    case Algorithm::kDownWinograd: return kDownWinogradWeights;
    case Algorithm::kDownPoint: return kDownPointWeights;
  }
  return nullptr;
}

constexpr bool is_up(Algorithm algorithm) {
  return algorithm == Algorithm::kUpDirect || algorithm == Algorithm::kUpWinograd;
}

}  // namespace refinestyle::native
