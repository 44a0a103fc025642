/**
 * Options that every verb takes.
 *
 * @module
 */

import { type Compute, COMPUTES } from "../autograd/linear_weight.ts";
import { DEVICE_NAMES } from "../backend/open.ts";
import { choice, flag, integer, type Option } from "./options.ts";

/** The options. */
export const COMMON = {
  device: choice(["auto", ...DEVICE_NAMES], {
    default: "auto",
    help: "device",
  }),
  threads: integer({
    least: 1,
    most: 256,
    otherwise: "all cores",
    help: "number of threads",
  }),
  json: flag({
    help: "print one JSON document on stdout, everything else on stderr",
  }),
  verbose: flag({ short: "v", help: "print the chosen device, and why" }),
  quiet: flag({
    short: "q",
    help: "no progress, only the result and errors",
  }),
  help: flag({ short: "h", help: "this page" }),
};

/** Those of verbs that compute nothing on a device. */
export const PLAIN = {
  json: COMMON.json,
  quiet: COMMON.quiet,
  help: COMMON.help,
};

/** The option of verbs that only run a model. */
export const COMPUTE: Option<Compute | undefined> = choice(COMPUTES, {
  otherwise: "int8 for a model merged by qalora, else f32",
  help: "arithmetic of products with int5 … int2",
});
