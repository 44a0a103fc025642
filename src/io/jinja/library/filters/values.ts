/**
 * Filters of Jinja2 for numbers and single values.
 *
 * @module
 */

import { bind, intArg, textArg } from "../../args.ts";
import { toFloat, toInt } from "../methods.ts";
import { attribute, sign } from "../../operators.ts";
import {
  Dict,
  fault,
  float,
  int,
  isFloat,
  lack,
  real,
  refuseUndefined,
  truth,
  typeName,
  Undefined,
} from "../../values.ts";
import type { Filter } from "../signatures.ts";

const orElse: Filter = (value, args) => {
  const [or = "", boolean = false] = bind(args, "default_value", "boolean");
  return value instanceof Undefined || (truth(boolean) && !truth(value))
    ? or
    : value;
};

const round: Filter = (value, args) => {
  const [precision, method = "common"] = bind(args, "precision", "method");
  const digits = intArg(precision, 0);
  const number = real(value);
  if (number === undefined || Math.abs(digits) > 20) {
    refuseUndefined(value);
    throw number === undefined
      ? fault(`type ${typeName(value)} doesn't define __round__ method`)
      : lack(`a rounding to ${digits} digits`);
  }
  if (method === "common") {
    if (isFloat(value)) return float(roundEven(number, digits));
    const whole = BigInt(value as number | bigint | boolean);
    return int(digits < 0 ? roundTens(whole, -digits, false) : whole);
  }
  if (method !== "ceil" && method !== "floor") {
    throw fault("method must be common, ceil or floor");
  }
  const scaled = digits < 0
    ? number * 10 ** digits
    : number * Number(`1e${digits}`);
  if (!Number.isFinite(scaled)) {
    throw fault("cannot convert float infinity or NaN to integer");
  }
  // An int has no -0.
  return float((Math[method](scaled) + 0) / 10 ** digits);
};

/** The nearest multiple of 10 to the power `tens`; of two that are as near, the even one, unless there is `more` behind the point. */
function roundTens(whole: bigint, tens: number, more: boolean): bigint {
  const unit = 10n ** BigInt(tens);
  const size = whole < 0n ? -whole : whole;
  const [below, twice] = [size / unit, size % unit * 2n];
  const up = twice > unit || (twice === unit && (more || below % 2n === 1n));
  return (whole < 0n ? -1n : 1n) * (below + (up ? 1n : 0n)) * unit;
}

/** The nearest number of so many digits; of two that are as near, the even one. */
function roundEven(number: number, digits: number): number {
  if (!Number.isFinite(number)) return number;
  const signed = (n: number) =>
    n === 0 && (number < 0 || Object.is(number, -0)) ? -0 : n;
  if (digits < 0) {
    const whole = Math.trunc(number);
    return signed(
      Number(roundTens(BigInt(whole), -digits, whole !== number)),
    );
  }
  if (Math.abs(number) >= 1e21) return number;
  const text = number.toFixed(Math.min(100, digits + 60));
  const cut = text.indexOf(".") + 1 + digits;
  if (!/^50*$/.test(text.slice(cut))) {
    return signed(Number(number.toFixed(digits)));
  }
  const down = text.slice(0, cut);
  const odd = /[13579]\.?$/.test(down);
  const step = 10 ** -digits * Math.sign(number);
  return signed(
    odd ? Number((Number(down) + step).toFixed(digits)) : Number(down),
  );
}

/** Filters of numbers and single values. */
export const VALUE_FILTERS: Readonly<Record<string, Filter>> = {
  default: orElse,
  d: orElse,
  attr: (value, args) => {
    const name = textArg(bind(args, "name")[0]);
    const found = value instanceof Dict ? undefined : attribute(value, name);
    return found ?? new Undefined(`no attribute '${name}'`);
  },
  abs: (value, args) => {
    bind(args);
    const number = real(value);
    const minus = number !== undefined && (number < 0 || Object.is(number, -0));
    return sign(value, minus);
  },
  int: (value, args) => {
    const [or = 0, base] = bind(args, "default", "base");
    const number = toInt(value, intArg(base, 10));
    if (number !== undefined) return number;
    const near = toFloat(value);
    return (near === undefined ? undefined : toInt(near)) ?? or;
  },
  float: (value, args) => {
    const [or = float(0)] = bind(args, "default");
    return toFloat(value) ?? or;
  },
  round,
};
