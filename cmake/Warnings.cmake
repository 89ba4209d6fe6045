# Contracted products would round differently from one compiler or function to the next, and bits
# are a promise: multiply-adds are written as such where they are wanted.
add_library(muster_warnings INTERFACE)
target_compile_options(muster_warnings INTERFACE -Wall -Wextra -Wshadow -Werror)
add_compile_options(-ffp-contract=off -march=x86-64-v3)
