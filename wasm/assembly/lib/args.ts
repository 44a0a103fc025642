/**
 * Arguments of a job: 32-bit words at `args`, which the host writes in the order of the job's class.
 *
 * Every job has the signature `(args, part, parts, thread)`: part `part` of `parts` of the work. Results depend on the
 * number of parts at most; `thread` only chooses scratch memory. Jobs that need none leave it out.
 */

/** First item of part `part` where `items` are dealt out in runs; that of `part + 1` ends the run. */
// @ts-ignore: decorator
@inline
export function share(items: u32, part: u32, parts: u32): u32 {
  return <u32> (<u64> items * <u64> part / <u64> parts);
}
