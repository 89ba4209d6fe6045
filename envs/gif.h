// Animated GIFs of what environments draw.
// Format: CompuServe, "Graphics Interchange Format version 89a" (1990), written by giflib; looping
// by Netscape's application extension.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/status.h"
#include "envs/image.h"

namespace muster::envs {

// Frames of one size that are shown one after the other, again and again. Every frame has its own
// colours (see IndexColors); only the part that differs from the frame before it is written.
// The same frames and delays give the same bytes. Keeps the compressed bytes in memory. One thread
// at a time.
class GifWriter {
 public:
  GifWriter();
  ~GifWriter();
  GifWriter(const GifWriter&) = delete;
  GifWriter& operator=(const GifWriter&) = delete;

  // Shows `image` for `delay_ms`, which is rounded to hundredths of a second, 20 ms at least (many
  // viewers slow down what is faster) and 655 s at most. kInvalidArgument for an image without
  // pixels, with a side over 65,535, or of another size than the first.
  Status Add(const Image& image, unsigned delay_ms);

  std::size_t frames() const;

  // The whole file. Nothing can be added afterwards. kFailedPrecondition without a frame.
  Result<std::string> Finish();
  // Finish, and replaces the file at `path` in one step; the error names the path.
  Status Write(const std::string& path);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace muster::envs
