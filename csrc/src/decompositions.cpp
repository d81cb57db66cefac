#define CONVEXRELU_EXTERN
#include "decompositions.hpp"
