/**
 * A tokenizer as its files have it.
 *
 * @module
 */

import type { NamedTemplates } from "../files/named_templates.ts";
import type { TokenizerContents } from "./sentencepiece/model.ts";

/** A tokenizer read from files. */
export interface TokenizerFiles extends TokenizerContents {
  /** Its name in errors: the set, and the file in it. */
  readonly name: string;
  /** The chat templates by name; none where there is none. */
  readonly chatTemplates: NamedTemplates;
}
