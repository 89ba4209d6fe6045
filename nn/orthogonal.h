// Orthonormal rows: what an orthogonal initialisation draws.
#pragma once

#include <cstddef>
#include <span>

namespace muster::nn {

// Turns `vectors` [count, length], count <= length and independent, into orthonormal ones that span
// the same, each leading subset too: modified Gram-Schmidt, every vector twice ("twice is enough":
// Giraud, Langou, Rozloznik, Numer. Math. 101, 2005). Of normal numbers it makes a draw from the
// uniform (Haar) distribution (Mezzadri, arXiv:math-ph/0609050). In a fixed order of additions.
void Orthonormalize(std::span<double> vectors, std::size_t count, std::size_t length);

}  // namespace muster::nn
