/**
 * The version of this build.
 *
 * @module
 */

/** As in deno.json; a check in `deno task ok` compares the two. */
export const VERSION = "0.1.0";
