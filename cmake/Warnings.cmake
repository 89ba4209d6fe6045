# Contracted products would round differently from one compiler or function to the next, and bits
# are a promise: multiply-adds are written as such where they are wanted.
add_library(muster_warnings INTERFACE)
target_compile_options(muster_warnings INTERFACE -Wall -Wextra -Wshadow -Werror
  # g++ 12 sees an overlap in `"literal" + string` that is not there (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Sanitizers keep loops from becoming vectors; that is no fault.
  $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>)
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off;-march=x86-64-v3>")
