#define CONVEXRELU_EXTERN
#include "numeric/decompositions.hpp"
