/**
 * The part of `node:assert/strict` that the conformance table uses, for a page that has no Node.
 *
 * @module
 */

function fail(message: string): never {
  throw new Error(message);
}

function ok(value: unknown, message = "wanted something true"): void {
  if (!value) fail(message);
}

function equal(actual: unknown, expected: unknown, message = "values"): void {
  if (!Object.is(actual, expected)) {
    fail(`${message}: wanted ${expected}, got ${actual}`);
  }
}

/** Plain data only. */
function deepEqual(
  actual: unknown,
  expected: unknown,
  message?: string,
): void {
  equal(JSON.stringify(actual), JSON.stringify(expected), message);
}

function throws(
  run: () => unknown,
  kind: new (...args: never[]) => Error = Error,
): void {
  try {
    run();
  } catch (error) {
    ok(error instanceof kind, `wanted a ${kind.name}, got ${error}`);
    return;
  }
  fail(`wanted a ${kind.name}, got no error`);
}

export default { ok, equal, deepEqual, throws };
