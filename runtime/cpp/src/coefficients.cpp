// Source: Pillow, src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc. The order of the double
// operations is theirs; another order gives other weights in the last bit, and other pixels.
#include "exact_doubles.h"

#include "coefficients.h"

#include <algorithm>
#include <cmath>

namespace rne {
namespace {

// Half the filter's width, output pixels.
double support_of(bool bicubic) { return bicubic ? 2.0 : 1.0; }

double triangle(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

// a = -0.5. Source: Keys 1981, equation 4.
double keys_cubic(double x) {
    const double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

std::int32_t fixed_point(double weight) {
    const double scaled = weight * (1 << kFractionBits);
    return static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

} // namespace

std::size_t most_taps(std::size_t inputs, std::size_t least_outputs, bool bicubic) {
    const double scale = static_cast<double>(inputs) / static_cast<double>(least_outputs);
    const auto window = static_cast<std::size_t>(std::ceil(2.0 * support_of(bicubic) * std::max(scale, 1.0)));
    return std::min(window + 1, inputs);
}

void Axis::prepare(std::size_t inputs, std::size_t outputs, std::size_t least_outputs, Kept kept, bool bicubic) {
    if (inputs == inputs_ && outputs == outputs_) {
        return;
    }
    inputs_ = 0; // an exception below leaves nothing that looks prepared
    const std::size_t entries = round_up(kept.count, 4);
    reserve(entries, most_taps(inputs, least_outputs, bicubic));
    const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
    const double filter_scale = std::max(scale, 1.0);
    place_windows(inputs, entries, scale, support_of(bicubic) * filter_scale, kept);
    weights_.assign(entries * pitch_, 0);
    high_.assign(entries * pitch_, 0);
    low_.assign(entries * pitch_, 0);
    for (std::size_t i = 0; i < kept.count; i++) {
        // Near the end the window begins earlier, with zeros, so that every window has `taps` inputs.
        const std::size_t moved_to = std::min(first(i), inputs - taps_);
        const double centre = (static_cast<double>(kept.first + i) + 0.5) * scale;
        weigh_window(i, first(i) - moved_to, centre, filter_scale, bicubic);
        first_[i] = static_cast<std::int32_t>(moved_to);
    }
    std::fill(first_.begin() + static_cast<std::ptrdiff_t>(kept.count), first_.end(), first_[kept.count - 1]);
    inputs_ = inputs;
    outputs_ = outputs;
}

AxisView Axis::view() const { return {first_.data(), weights_.data(), high_.data(), low_.data(), taps_, pitch_}; }

void Axis::reserve(std::size_t entries, std::size_t taps) {
    weights_.reserve(entries * round_up(taps, 8));
    high_.reserve(entries * round_up(taps, 8));
    low_.reserve(entries * round_up(taps, 8));
    raw_.reserve(taps);
}

void Axis::place_windows(std::size_t inputs, std::size_t entries, double scale, double reach, Kept kept) {
    first_.assign(entries, 0);
    length_.assign(entries, 0);
    taps_ = 0;
    for (std::size_t i = 0; i < kept.count; i++) {
        const double centre = (static_cast<double>(kept.first + i) + 0.5) * scale;
        const auto first = static_cast<std::size_t>(std::max(0.0, centre - reach + 0.5));
        const std::size_t end = std::min(inputs, static_cast<std::size_t>(centre + reach + 0.5));
        first_[i] = static_cast<std::int32_t>(first);
        length_[i] = static_cast<std::int32_t>(end - first);
        taps_ = std::max(taps_, end - first);
    }
    pitch_ = round_up(taps_, 8);
}

void Axis::weigh_window(std::size_t output, std::size_t zeros, double centre, double filter_scale, bool bicubic) {
    const auto length = static_cast<std::size_t>(length_[output]);
    raw_.assign(length, 0.0);
    double total = 0.0;
    for (std::size_t k = 0; k < length; k++) {
        const double offset = static_cast<double>(first(output) + k) - centre + 0.5;
        raw_[k] = bicubic ? keys_cubic(offset * (1.0 / filter_scale)) : triangle(offset * (1.0 / filter_scale));
        total += raw_[k];
    }
    for (std::size_t k = 0; k < length; k++) {
        const std::size_t at = output * pitch_ + zeros + k;
        const std::int32_t weight = fixed_point(raw_[k] * (1.0 / total));
        weights_[at] = weight;
        high_[at] = static_cast<std::int16_t>(weight >> kLowBits);
        low_[at] = static_cast<std::int16_t>(weight & ((1 << kLowBits) - 1));
    }
}

} // namespace rne
