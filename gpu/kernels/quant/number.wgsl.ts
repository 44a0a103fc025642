/**
 * Numbers to the bit, whatever the GPU does. WGSL lets a division be wrong by 2.5 ulp and takes subnormal numbers for 0
 * as it likes; codes must not depend on that. Values that may be subnormal are moved by a power of two first, divisions
 * are done on whole numbers, and the search's f64 arithmetic is done in pairs of words.
 *
 * @module
 */

/** Powers of two, reciprocals, quotients. */
export const NUMBERS = /* wgsl */ `
const SIGN = 0x80000000u;
const MAGNITUDE = 0x7fffffffu;
/** The magnitude below which a scale is not inverted: the contract's 1e-38, a subnormal number. */
const TINY = 0x006ce3eeu;

/** The number with these bits, times 2^by; exact, or 0 where that is below the normal numbers. */
fn moved(bits: u32, by: i32) -> f32 {
  let magnitude = bits & MAGNITUDE;
  var normal = magnitude;
  var exponent = by;
  if (magnitude < 0x00800000u) {
    normal = bitcast<u32>(f32(magnitude));
    exponent = by - 149;
  }
  let field = i32(normal >> 23u) + exponent;
  if (normal == 0u || field < 1) {
    return bitcast<f32>(bits & SIGN);
  }
  return bitcast<f32>((bits & SIGN) | (normal + bitcast<u32>(exponent << 23u)));
}

/** 2^-by / scale, correctly rounded, for the scale with these bits; within the normal numbers. */
fn reciprocal(bits: u32, by: i32) -> f32 {
  let magnitude = max(bits & MAGNITUDE, TINY);
  let sign = select(bits & SIGN, 0u, (bits & MAGNITUDE) < TINY);
  var exponent = i32(magnitude >> 23u);
  var mantissa = (magnitude & 0x007fffffu) | 0x00800000u;
  if (exponent == 0) {
    mantissa = (magnitude & 0x007fffffu) << 1u;
  }
  var quotient = 0x01000000u;
  if (mantissa != 0x00800000u) {
    // 2^47 / mantissa has 24 bits. The remainder is exact in 32 bits, and 2^47 is 0 there.
    quotient = u32(140737488355328.0 / f32(mantissa));
    var rest = bitcast<i32>(0u - quotient * mantissa);
    while (rest < 0) {
      quotient -= 1u;
      rest += i32(mantissa);
    }
    while (rest >= i32(mantissa)) {
      quotient += 1u;
      rest -= i32(mantissa);
    }
    quotient += select(0u, 1u, 2 * rest > i32(mantissa));
  }
  exponent = 253 - exponent - by;
  if (quotient == 0x01000000u) {
    quotient = 0x00800000u;
    exponent += 1;
  }
  exponent = clamp(exponent, 1, 254);
  return bitcast<f32>(sign | (u32(exponent) << 23u) | (quotient & 0x007fffffu));
}

/** Power of two by which a block is moved, so that its numbers and their reciprocals are normal. */
fn way_of(largest: u32) -> i32 {
  let field = (largest & MAGNITUDE) >> 23u;
  return select(select(0, -4, field >= 250u), 100, field < 64u);
}
`;

/** f64 numbers as a sign, 64 bits of which the highest is 1 and the lowest 11 are 0, and a power of two. */
export const WIDE_NUMBERS = /* wgsl */ `
struct Wide {
  negative: bool,
  exponent: i32,
  high: u32,
  low: u32,
}

/** The 64 bits over 2^by; what is lost shows in the lowest bit. */
fn shifted(high: u32, low: u32, by: u32) -> vec2<u32> {
  if (by == 0u) {
    return vec2<u32>(high, low);
  }
  if (by >= 64u) {
    return vec2<u32>(0u, select(0u, 1u, (high | low) != 0u));
  }
  let s = by & 31u;
  // Two steps, as no shift may be by 32.
  let down = (high << 1u) << (31u - s);
  let lost = (low << 1u) << (31u - s);
  if (by < 32u) {
    return vec2<u32>(high >> s, down | (low >> s) | select(0u, 1u, lost != 0u));
  }
  return vec2<u32>(0u, (high >> s) | select(0u, 1u, (down | low) != 0u));
}

/** Moves the highest bit up and rounds to 53 bits, half to even. */
fn wide(negative: bool, exponent: i32, high: u32, low: u32) -> Wide {
  if ((high | low) == 0u) {
    return Wide(negative, 0, 0u, 0u);
  }
  var up = countLeadingZeros(high);
  if (high == 0u) {
    up = 32u + countLeadingZeros(low);
  }
  var h = high;
  var l = low;
  if (up >= 32u) {
    h = low << (up - 32u);
    l = 0u;
  } else if (up > 0u) {
    h = (high << up) | (low >> (32u - up));
    l = low << up;
  }
  var e = exponent - i32(up);
  let rest = l & 0x7ffu;
  l -= rest;
  if (rest > 0x400u || (rest == 0x400u && (l & 0x800u) != 0u)) {
    l += 0x800u;
    if (l == 0u) {
      h += 1u;
      if (h == 0u) {
        h = SIGN;
        e += 1;
      }
    }
  }
  return Wide(negative, e, h, l);
}

/** The f32 number with these bits. */
fn wide_of(bits: u32) -> Wide {
  let field = i32((bits & MAGNITUDE) >> 23u);
  let mantissa = (bits & 0x007fffffu) | select(0u, 0x00800000u, field > 0);
  return wide((bits & SIGN) != 0u, max(field, 1) - 150, 0u, mantissa);
}

/** The bits of the nearest f32 number. */
fn bits_of(x: Wide) -> u32 {
  let sign = select(0u, SIGN, x.negative);
  if (x.high == 0u) {
    return sign;
  }
  let field = x.exponent + 190;
  // Of the 64 bits 24 stay, fewer in a subnormal number; two more decide the rounding.
  let down = min(38u + u32(max(0, 1 - field)), 64u);
  let kept = shifted(x.high, x.low, down).y;
  var result = kept >> 2u;
  if ((kept & 2u) != 0u && (kept & 5u) != 0u) {
    result += 1u;
  }
  return sign | (result + (u32(max(field, 1) - 1) << 23u));
}

/** All 64 bits of a product, the high ones first. */
fn product(a: u32, b: u32) -> vec2<u32> {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let low = a0 * b0;
  let middle = a1 * b0 + (low >> 16u);
  let other = a0 * b1 + (middle & 0xffffu);
  return vec2<u32>(
    a1 * b1 + (middle >> 16u) + (other >> 16u),
    (other << 16u) | (low & 0xffffu),
  );
}

fn wide_times(a: Wide, b: Wide) -> Wide {
  let ll = product(a.low, b.low);
  let lh = product(a.low, b.high);
  let hl = product(a.high, b.low);
  let hh = product(a.high, b.high);
  // The second word, and what it carries.
  let s = ll.x + lh.y;
  let second = s + hl.y;
  let carry = select(0u, 1u, s < ll.x) + select(0u, 1u, second < s);
  let t = hh.y + lh.x;
  let u = t + hl.x;
  let third = u + carry;
  let fourth = hh.x + select(0u, 1u, t < hh.y) + select(0u, 1u, u < t) +
    select(0u, 1u, third < u);
  return wide(
    a.negative != b.negative,
    a.exponent + b.exponent + 64,
    fourth,
    third | select(0u, 1u, (second | ll.y) != 0u),
  );
}

fn wide_plus(a: Wide, b: Wide) -> Wide {
  if (a.high == 0u) {
    return b;
  }
  if (b.high == 0u) {
    return a;
  }
  let swap = b.exponent > a.exponent ||
    (b.exponent == a.exponent &&
      (b.high > a.high || (b.high == a.high && b.low > a.low)));
  var x = a;
  var y = b;
  if (swap) {
    x = b;
    y = a;
  }
  // One bit of room for a carry.
  let p = shifted(x.high, x.low, 1u);
  let q = shifted(y.high, y.low, min(u32(x.exponent - y.exponent) + 1u, 64u));
  if (x.negative == y.negative) {
    let low = p.y + q.y;
    return wide(x.negative, x.exponent + 1, p.x + q.x + select(0u, 1u, low < p.y), low);
  }
  let high = p.x - q.x - select(0u, 1u, p.y < q.y);
  let low = p.y - q.y;
  return wide(x.negative && (high | low) != 0u, x.exponent + 1, high, low);
}

fn wide_minus(a: Wide, b: Wide) -> Wide {
  return wide_plus(a, Wide(!b.negative, b.exponent, b.high, b.low));
}

fn wide_half(a: Wide) -> Wide {
  return Wide(a.negative, a.exponent - 1, a.high, a.low);
}

/** Bits of (high - low) / steps, the difference and the quotient each rounded; high and low are bits too, steps at most 31. */
fn step_of(low: u32, high: u32, steps: u32) -> u32 {
  // Small numbers are moved, so that the difference is normal.
  let by = select(0, 100, max(low & MAGNITUDE, high & MAGNITUDE) < 0x20000000u);
  let range = bitcast<u32>(moved(high, by) - moved(low, by));
  if (range >= 0x7f800000u) {
    return range;
  }
  if (range == 0u) {
    return 0u;
  }
  let mantissa = ((range & 0x007fffffu) | 0x00800000u) << 8u;
  let quotient = mantissa / steps;
  let rest = select(0u, 0x80000000u, quotient * steps != mantissa);
  return bits_of(wide(false, i32(range >> 23u) - 190 - by, quotient, rest));
}
`;
