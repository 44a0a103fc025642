/**
 * The filters and tests that a template may use, by name.
 *
 * @module
 */

import { fault, lack } from "../values.ts";
import { ITEM_FILTERS } from "./filters/items.ts";
import { TEXT_FILTERS } from "./filters/texts.ts";
import { VALUE_FILTERS } from "./filters/values.ts";
import type { Filter, Library } from "./signatures.ts";
import { TESTS } from "./tests.ts";

const FILTERS: Readonly<Record<string, Filter>> = {
  ...ITEM_FILTERS,
  ...TEXT_FILTERS,
  ...VALUE_FILTERS,
};

/** Filters of Jinja2 that loqa has not. */
const LACKING = new Set([
  "filesizeformat",
  "pprint",
  "random",
  "striptags",
  "truncate",
  "urlencode",
  "urlize",
  "wordwrap",
  "xmlattr",
]);

/** Jinja2's filters and tests, as far as loqa has them. */
export const LIBRARY: Library = {
  isFilter: (name) => Object.hasOwn(FILTERS, name) || LACKING.has(name),
  isTest: (name) => Object.hasOwn(TESTS, name),
  runFilter(name, value, args) {
    if (Object.hasOwn(FILTERS, name)) {
      return FILTERS[name](value, args, LIBRARY);
    }
    throw LACKING.has(name)
      ? lack(`the filter "${name}"`)
      : fault(`No filter named '${name}'`);
  },
  runTest(name, value, args) {
    if (Object.hasOwn(TESTS, name)) return TESTS[name](value, args, LIBRARY);
    throw fault(`No test named '${name}'`);
  },
};
