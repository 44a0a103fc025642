/**
 * Codes of 2 to 5 bits as a dense bit stream, eight codes (as many bytes as a code has bits) at a time in one 64-bit
 * register; here of 3:
 *
 * ```text
 * bytes     00000hhh 00000ggg … 00000bbb 00000aaa      eight codes, the first in the lowest byte
 * pairs        00hhhggg   00fffeee   00dddccc   00bbbaaa
 * fours           0000hhhgggfffeee      0000dddcccbbbaaa
 * stream                          hhhgggfffeeedddcccbbbaaa
 * ```
 *
 * Of 5 bits, what moves lands on what stays, so that both are cut out first. `high` order (4 bits only) swaps the two codes
 * of each byte.
 */

/** Eight codes, one a byte, as `8 * bits` bits. */
// @ts-ignore: decorator
@inline
function pack8(x: u64, bits: u32, high: bool): u64 {
  if (bits == 4) {
    x = high
      ? (x << 4 | x >> 8) & 0x00ff00ff00ff00ff
      : (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (x | x >> 16) & 0xffffffff;
  }
  if (bits == 3) {
    x = (x | x >> 5) & 0x003f003f003f003f;
    x = (x | x >> 10) & 0x00000fff00000fff;
    return (x | x >> 20) & 0xffffff;
  }
  if (bits == 5) {
    x = (x & 0x001f001f001f001f) | (x >> 3 & 0x03e003e003e003e0);
    x = (x & 0x000003ff000003ff) | (x >> 6 & 0x000ffc00000ffc00);
    return (x & 0xfffff) | (x >> 12 & 0xfffff00000);
  }
  x = (x | x >> 6) & 0x000f000f000f000f;
  x = (x | x >> 12) & 0x000000ff000000ff;
  return (x | x >> 24) & 0xffff;
}

/** The reverse of {@linkcode pack8}; higher bits of `x` are ignored. */
// @ts-ignore: decorator
@inline
function unpack8(x: u64, bits: u32, high: bool): u64 {
  if (bits == 4) {
    x &= 0xffffffff;
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    return high
      ? (x >> 4 | x << 8) & 0x0f0f0f0f0f0f0f0f
      : (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
  }
  if (bits == 3) {
    x &= 0xffffff;
    x = (x | x << 20) & 0x00000fff00000fff;
    x = (x | x << 10) & 0x003f003f003f003f;
    return (x | x << 5) & 0x0707070707070707;
  }
  if (bits == 5) {
    x = (x & 0xfffff) | (x << 12 & 0x000fffff00000000);
    x = (x & 0x000003ff000003ff) | (x << 6 & 0x03ff000003ff0000);
    return (x & 0x001f001f001f001f) | (x << 3 & 0x1f001f001f001f00);
  }
  x &= 0xffff;
  x = (x | x << 24) & 0x000000ff000000ff;
  x = (x | x << 12) & 0x000f000f000f000f;
  return (x | x << 6) & 0x0303030303030303;
}

/** Packs `n` codes from `codes`, one a byte, into the `ceil(n * bits / 8)` bytes at `out`, the last filled up with zeros. */
export function packCodes(
  codes: usize,
  n: u32,
  bits: u32,
  high: bool,
  out: usize,
): void {
  const whole = codes + (n & ~7);
  if (bits == 4) {
    for (; codes < whole; codes += 8, out += 4) {
      store<u32>(out, <u32> pack8(load<u64>(codes), 4, high));
    }
  } else if (bits == 3) {
    for (; codes < whole; codes += 8, out += 3) {
      const x = <u32> pack8(load<u64>(codes), 3, false);
      store<u16>(out, <u16> x);
      store<u8>(out, <u8> (x >> 16), 2);
    }
  } else if (bits == 5) {
    for (; codes < whole; codes += 8, out += 5) {
      const x = pack8(load<u64>(codes), 5, false);
      store<u32>(out, <u32> x);
      store<u8>(out, <u8> (x >> 32), 4);
    }
  } else {
    for (; codes < whole; codes += 8, out += 2) {
      store<u16>(out, <u16> pack8(load<u64>(codes), 2, false));
    }
  }
  const rest = n & 7;
  if (rest == 0) return;
  const mask = (<u64> 1 << (rest << 3)) - 1;
  let x = pack8(load<u64>(codes) & mask, bits, high);
  for (let left = <i32> (rest * bits); left > 0; left -= 8) {
    store<u8>(out++, <u8> x);
    x >>= 8;
  }
}

/**
 * Unpacks `n` codes, which start at a byte, to one a byte. Writes up to 7 bytes more than `n` and reads up to 5 past
 * the stream.
 */
export function unpackCodes(
  from: usize,
  n: u32,
  bits: u32,
  high: bool,
  out: usize,
): void {
  const end = out + n;
  if (bits == 4) {
    for (; out < end; out += 8, from += 4) {
      store<u64>(out, unpack8(load<u32>(from), 4, high));
    }
  } else if (bits == 3) {
    for (; out < end; out += 8, from += 3) {
      store<u64>(out, unpack8(load<u32>(from), 3, false));
    }
  } else if (bits == 5) {
    for (; out < end; out += 8, from += 5) {
      const x = <u64> load<u32>(from) | <u64> load<u8>(from, 4) << 32;
      store<u64>(out, unpack8(x, 5, false));
    }
  } else {
    for (; out < end; out += 8, from += 2) {
      store<u64>(out, unpack8(load<u16>(from), 2, false));
    }
  }
}
