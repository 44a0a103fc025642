/**
 * Arguments of a job: 32-bit words at `args`, written by `wasm/ops/*.ts`.
 *
 * Every job has the signature `(args, part, parts, thread)`: part `part` of `parts` of the work. Results depend on the
 * number of parts at most; `thread` only chooses scratch memory. Jobs that need none leave it out.
 */

/** Word `i` as an unsigned integer or pointer. */
// @ts-ignore: decorator
@inline
export function word(args: usize, i: i32): u32 {
  return load<u32>(args + (<usize> i << 2));
}

/** Word `i` as an f32. */
// @ts-ignore: decorator
@inline
export function float(args: usize, i: i32): f32 {
  return load<f32>(args + (<usize> i << 2));
}

/** First item of part `part` where `items` are dealt out in runs; that of `part + 1` ends the run. */
// @ts-ignore: decorator
@inline
export function share(items: u32, part: u32, parts: u32): u32 {
  return <u32> (<u64> items * <u64> part / <u64> parts);
}
