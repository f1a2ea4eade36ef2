// Which input pixels make an output pixel along one axis, and with which weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rne {

// What the kernels read: plain pointers, so that no function of the standard library is compiled into them.
// A weight w has 22 fractional bits; w == high * 2048 + low, and both halves fit the 16 bits that pmaddwd takes.
struct AxisView {
    const std::int32_t *first;   // (outputs): first input of the window; first + taps <= inputs
    const std::int32_t *weights; // (outputs, pitch), zeros from `taps` on
    const std::int16_t *high;    // (outputs, pitch)
    const std::int16_t *low;     // (outputs, pitch), 0 ... 2047
    std::size_t taps;            // length of the longest window; shorter ones are filled with zeros
    std::size_t pitch;           // taps, rounded up to a multiple of 8
};

constexpr int kLowBits = 11;
constexpr int kFractionBits = 22;

// A range of output pixels of one axis.
struct Kept {
    std::size_t first;
    std::size_t count;
};

// The weights of the outputs that survive the crop, remembered for the next image of the same size.
class Axis {
public:
    // Does nothing where lengths and filter are those of the last call; `kept` follows from `outputs` for a caller.
    // The view's arrays have kept.count entries, rounded up to a multiple of 4 with entries of weight zero.
    // least_outputs: no call with this many inputs or fewer will have fewer outputs; memory is taken for that.
    void prepare(std::size_t inputs, std::size_t outputs, std::size_t least_outputs, Kept kept, bool bicubic);
    AxisView view() const;
    std::size_t first(std::size_t output) const { return static_cast<std::size_t>(first_[output]); }
    std::size_t taps() const { return taps_; }

private:
    void reserve(std::size_t entries, std::size_t taps);
    void place_windows(std::size_t inputs, std::size_t entries, double scale, double reach, Kept kept);
    void weigh_window(std::size_t output, std::size_t zeros, double centre, double filter_scale, bool bicubic);

    std::size_t inputs_ = 0;
    std::size_t outputs_ = 0;
    std::size_t taps_ = 0;
    std::size_t pitch_ = 0;
    std::vector<std::int32_t> first_;
    std::vector<std::int32_t> length_;
    std::vector<std::int32_t> weights_;
    std::vector<std::int16_t> high_;
    std::vector<std::int16_t> low_;
    std::vector<double> raw_;
};

// Upper bound of the taps of an axis, which grows with `inputs` and so bounds every smaller image too.
std::size_t most_taps(std::size_t inputs, std::size_t least_outputs, bool bicubic);

constexpr std::size_t round_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }

} // namespace rne
