/**
 * Python's two ways to fill a text: `"%s" % value` and `"{}".format(value)`.
 *
 * @module
 */

import { paid, spend } from "../budget.ts";
import { floatText, repr, str } from "./text.ts";
import {
  type Args,
  Dict,
  fault,
  isFloat,
  isInt,
  isList,
  isWide,
  lack,
  real,
  refuseUndefined,
  textLength,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "../values.ts";

type Integral = number | bigint | boolean;

const DIRECTIVE =
  /%(?:\(([^)]*)\))?([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d+))?[hlL]?(.?)/gs;

/** `format % values`. @throws {TypeError} If they do not fit. */
export function percentFormat(format: string, values: Value): string {
  const list = values instanceof Tuple ? values.items : [values];
  let at = 0;
  const text = format.replace(
    DIRECTIVE,
    (whole, key, flags: string, width = "0", digits, kind) => {
      if (kind === "%") return "%";
      if (width === "*" || digits === "*") throw lack(`${whole} in a format`);
      let value: Value | undefined;
      if (key === undefined) value = list[at++];
      else if (values instanceof Dict) {
        value = values.get(key);
        at = list.length;
      } else throw fault("format requires a mapping");
      if (value === undefined) {
        throw fault("not enough arguments for format string");
      }
      return pad(convert(value, kind, digits && Number(digits), flags), {
        width: Number(width),
        align: flags.includes("-")
          ? "<"
          : flags.includes("0") && !/[srac]/.test(kind)
          ? "="
          : ">",
        fill: flags.includes("0") && !/[srac]/.test(kind) &&
            !flags.includes("-")
          ? "0"
          : " ",
      });
    },
  );
  // Arguments that could be a mapping to Python may stay unused.
  const mapping = values instanceof Dict || values instanceof Undefined ||
    isList(values);
  if (at < list.length && !mapping) {
    throw fault("not all arguments converted during string formatting");
  }
  return paid(text);
}

function convert(
  value: Value,
  kind: string,
  digits: number | undefined,
  flags: string,
): string {
  if (/[sra]/.test(kind)) {
    const text = kind === "s"
      ? str(value)
      : kind === "r"
      ? repr(value)
      : ascii(repr(value));
    return digits === undefined ? text : cut(text, digits);
  }
  const number = real(value);
  if (number === undefined) {
    refuseUndefined(value);
    throw fault(
      `%${kind} format: a real number is required, not ${typeName(value)}`,
    );
  }
  return plus(
    /[diu]/.test(kind)
      ? (isFloat(value) ? whole(number) : String(BigInt(value as Integral)))
      : numberText(value, number, kind, digits),
    flags.includes("+") ? "+" : flags.includes(" ") ? " " : "",
  );
}

/** A text whose other characters are written by number. */
function ascii(text: string): string {
  return text.replace(/[^\0-\x7f]/gu, (c) => {
    const code = c.codePointAt(0)!;
    const [mark, digits] = code < 0x100
      ? ["x", 2]
      : code < 0x10000
      ? ["u", 4]
      : ["U", 8];
    return `\\${mark}${code.toString(16).padStart(digits as number, "0")}`;
  });
}

/** `number` to so many digits, without zeros at the end: with an exponent where it is long. */
function general(number: number, digits: number, point: boolean): string {
  const most = Math.max(1, digits);
  const [head, tail] = number.toExponential(most - 1).split("e");
  const exponent = Number(tail);
  const trimmed = (text: string) =>
    text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  if (exponent < -4 || exponent >= most - (point ? 1 : 0)) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${trimmed(head)}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  const text = trimmed(number.toFixed(Math.max(0, most - 1 - exponent)));
  return point && !text.includes(".") ? `${text}.0` : text;
}

function whole(number: number): string {
  if (!Number.isFinite(number)) throw fault("cannot convert float to integer");
  return String(BigInt(Math.trunc(number)));
}

function plus(text: string, mark: string): string {
  return text.startsWith("-") ? text : mark + text;
}

function numberText(
  value: Value,
  number: number,
  kind: string,
  digits = 6,
): string {
  if (digits > 100) throw lack(`${digits} digits in a format`);
  if (Object.is(number, -0)) return `-${numberText(value, 0, kind, digits)}`;
  switch (kind) {
    case "f":
    case "F":
      if (Math.abs(number) < 1e21) return number.toFixed(digits);
      break;
    case "e":
    case "E": {
      const text = number.toExponential(digits)
        .replace(/e([+-])(\d)$/, "e$10$2");
      return kind === "E" ? text.toUpperCase() : text;
    }
    case "x":
    case "X":
    case "o":
    case "b": {
      if (isFloat(value)) break;
      const base = kind === "o" ? 8 : kind === "b" ? 2 : 16;
      const text = BigInt(value as Integral).toString(base);
      return kind === "X" ? text.toUpperCase() : text;
    }
    case "%":
      return `${(number * 100).toFixed(digits)}%`;
    case "":
    case "g":
    case "G":
    case "n": {
      if (!Number.isFinite(number)) break;
      const text = general(number, digits, kind === "" && isFloat(value));
      return kind === "G" ? text.toUpperCase() : text;
    }
  }
  throw lack(`the format ${kind || "without a type"} of ${number}`);
}

function cut(text: string, count: number): string {
  return isWide(text)
    ? Array.from(text).slice(0, count).join("")
    : text.slice(0, count);
}

function pad(
  text: string,
  { width, align, fill }: { width: number; align: string; fill: string },
): string {
  const count = Math.max(0, width - textLength(text));
  spend(count / 16);
  const left = align === "<" ? 0 : align === "^" ? count >> 1 : count;
  if (align === "=") {
    const [, head, rest] = /^([+ -]?)(.*)$/s.exec(text)!;
    return head + fill.repeat(count) + rest;
  }
  return fill.repeat(left) + text + fill.repeat(count - left);
}

const SPEC =
  /^(?:(.)?([<>=^]))?([-+ ]?)(#?)(0?)(\d*)([,_]?)(?:\.(\d+))?([a-zA-Z%]?)$/su;

/** `format(value, spec)`. */
function formatValue(value: Value, spec: string): string {
  if (spec === "") return str(value);
  const parts = SPEC.exec(spec);
  if (!parts) throw fault("Invalid format specifier");
  const [, filled, aligned, mark, alternate, zero, width, group, digits, kind] =
    parts;
  if (alternate) throw lack("# in a format");
  const number = real(value);
  const isText = textOf(value) !== undefined;
  if (!isText && (number === undefined || typeof value === "boolean")) {
    throw lack(`the format ${spec} of a ${typeName(value)}`);
  }
  if (isText && ((kind !== "" && kind !== "s") || group || mark)) {
    throw fault(`Unknown format code for object of type 'str'`);
  }
  let text: string;
  if (isText) {
    text = digits === undefined ? str(value) : cut(str(value), Number(digits));
  } else {
    const plain = kind === "" && digits === undefined;
    if (digits !== undefined && isInt(value) && /^[bcdoxXn]?$/.test(kind)) {
      throw fault("Precision not allowed in integer format specifier");
    }
    text = kind === "d" || (plain && isInt(value))
      ? (isInt(value) ? String(value) : refuse(kind))
      : plain
      ? floatText(number!)
      : numberText(
        value,
        number!,
        kind,
        digits === undefined ? undefined : Number(digits),
      );
    if (group) {
      text = text.replace(
        /\d+/,
        (whole) => whole.replace(/\d(?=(\d{3})+$)/g, `$&${group}`),
      );
    }
    text = plus(text, mark === "-" ? "" : mark);
  }
  return pad(text, {
    width: Number(width || 0),
    align: aligned ?? (zero && !isText ? "=" : isText ? "<" : ">"),
    fill: filled ?? (zero ? "0" : " "),
  });
}

function refuse(kind: string): never {
  throw fault(`Unknown format code '${kind}' for object of type 'float'`);
}

/** `format.format(...args)`. @throws {TypeError} If they do not fit, or a field looks into a value. */
export function braceFormat(format: string, { list, named }: Args): string {
  let at = 0;
  const text = format.replace(
    /\{\{|\}\}|\{([^{}]*)\}|[{}]/g,
    (whole, field?: string) => {
      if (whole === "{{" || whole === "}}") return whole[0];
      if (field === undefined) {
        throw whole === "{" && /\{[^{}]*\{/.test(format)
          ? lack("a field inside a field of a format")
          : fault(`Single '${whole}' encountered in format string`);
      }
      const [, name, conversion, spec = ""] = /^([^!:]*)(?:!(.))?(?::(.*))?$/s
        .exec(field)!;
      if (/[.[]/.test(name)) throw lack(`the field {${name}} of a format`);
      const value = name === ""
        ? list[at++]
        : /^\d+$/.test(name)
        ? list[Number(name)]
        : named.get(name);
      if (value === undefined) {
        throw fault(`a format has a field {${name}} without a value`);
      }
      return formatValue(
        conversion === "r"
          ? repr(value)
          : conversion === "s"
          ? str(value)
          : value,
        spec,
      );
    },
  );
  return paid(text);
}
