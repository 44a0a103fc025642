/**
 * The chat templates of a model by their names, as transformers finds them.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "./errors.ts";
import { isObject } from "./json.ts";

/** Name of the template for conversations without a template of their own. */
export const DEFAULT = "default";
/** The template of a conversation with tools. */
export const TOOL_USE = "tool_use";

/** The file of the default template; it and the files of {@linkcode TEMPLATE_FOLDER} stand for the configuration's. */
export const TEMPLATE_FILE = "chat_template.jinja";
/** The folder of the other templates, one a file that has its name. */
export const TEMPLATE_FOLDER = "additional_chat_templates";

/** A template, and the name of its file in errors. */
export interface NamedTemplate {
  /** The template. */
  readonly text: string;
  /** The file. */
  readonly file: string;
}

/** Templates by name. */
export type NamedTemplates = ReadonlyMap<string, NamedTemplate>;

/** The name of the template in a file of a model; undefined if it holds none. */
export function templateOfFile(name: string): string | undefined {
  if (name === TEMPLATE_FILE) return DEFAULT;
  const [folder, file, ...rest] = name.split("/");
  return folder === TEMPLATE_FOLDER && rest.length === 0
    ? /^([^.\\:\0][^\\:\0]*)\.jinja$/.exec(file ?? "")?.[1]
    : undefined;
}

/**
 * The templates that the entry `chat_template` of a tokenizer's configuration holds: one, or several with names.
 *
 * @throws {SyntaxError} If it is neither.
 */
export function templatesOfConfig(
  value: unknown,
  file: string,
): NamedTemplates {
  const pairs: (readonly [unknown, unknown])[] = value === undefined ||
      value === null
    ? []
    : typeof value === "string"
    ? [[DEFAULT, value]]
    : Array.isArray(value)
    ? value.map((item) =>
      isObject(item) ? [item.name, item.template] : [undefined, item]
    )
    : isObject(value)
    ? Object.entries(value)
    : [[undefined, value]];
  return new Map(pairs.map(([name, text]) => {
    if (typeof name !== "string" || typeof text !== "string") {
      throw new FormatError(
        `Cannot read ${
          quoted(file)
        }: wanted as chat_template a text, or a list of objects with the texts name and template`,
      );
    }
    return [name, { text, file }];
  }));
}

/** The template for a conversation (with tools, or without); undefined if none is meant for it. */
export function templateFor(
  templates: NamedTemplates,
  tools: boolean,
): NamedTemplate | undefined {
  return (tools ? templates.get(TOOL_USE) : undefined) ??
    templates.get(DEFAULT);
}
