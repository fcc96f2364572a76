// Opens a document's file: the ending decides its language, and it is read and checked as a whole.

import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { together } from '../both.ts'
import type { FromDocument } from '../from-document.ts'
import { documentPath, type ProcessEnvironment, findGiven } from '../given.ts'
import type { Mistake } from '../kinds.ts'
import { closing } from '../secret-file.ts'
import { type PolicyEntries, policyEntries, policyMistakes } from '../policies.ts'
import { KEYS, settingOf } from '../table.ts'
import type { Parsed } from './node.ts'
import { readTree } from './read.ts'
import { parseToml } from './toml.ts'
import { memberOf } from './tree.ts'
import type { About } from './values.ts'
import { parseJson, parseYaml } from './yaml.ts'

/** Far larger than any real document, and small enough to be parsed at once. */
const MAX_DOCUMENT_BYTES = 262_144

const LANGUAGES: Readonly<Record<string, (text: string) => Parsed>> = {
  yaml: parseYaml,
  yml: parseYaml,
  json: parseJson,
  toml: parseToml,
}

export function openDocument(
  path: string,
  env: ProcessEnvironment,
  devMode: boolean,
): FromDocument {
  // A path must not control the terminal.
  const name = /^[ -~]+$/.test(path) ? path : 'the document'
  const parse = LANGUAGES[/\.([a-z]+)$/i.exec(path)?.[1]?.toLowerCase() ?? '']
  if (!parse) {
    return nothing([
      {
        setting: name,
        message: 'has no ending that is known',
        hint: 'name it .yaml, .toml or .json',
      },
    ])
  }
  const held = readDocument(path, name)
  if (!held.ok) return nothing([held.mistake])
  return readText(held.text, parse, {
    name,
    env,
    devMode,
    closing: devMode ? undefined : held.closing,
  })
}

const EMPTY_HINT = 'write the settings into it, or name no document'

/** Reads a document from its text; `parse` decides the language. */
export function readText(
  text: string,
  parse: (text: string) => Parsed,
  about: About,
): FromDocument {
  let parsed: Parsed
  try {
    parsed = parse(text)
  } catch {
    const [message, hint] = ['cannot be read', 'is it nested too deep?']
    return nothing([{ setting: about.name, message, hint }])
  }
  if (parsed.ok) {
    const { root } = parsed
    // An empty file was probably truncated: without its policies, everybody could do everything.
    if (root.kind !== 'value' || root.value !== null) return readTree(root, about)
    return nothing([{ setting: about.name, message: 'is empty', hint: EMPTY_HINT }])
  }
  return nothing(
    parsed.wrong.map(({ at, name: member, message, hint }) => ({
      setting: `${about.name}:${at.line}:${at.column}${member === undefined ? '' : ` ${member}`}`,
      message,
      hint,
    })),
  )
}

/**
 * For commands other than the gate: merges the document that the environment names into the environment.
 */
export type Completed =
  | {
      readonly ok: true
      readonly env: ProcessEnvironment
      /** Undefined if no document is named: then the gate's policies are unknown. */
      readonly policies: PolicyEntries | undefined
    }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

export function completed(env: ProcessEnvironment): Completed {
  const path = documentPath(undefined, env)
  if (path === undefined) return { ok: true, env, policies: undefined }
  const document = openDocument(path, env, false)
  const mistakes = [
    ...document.mistakes,
    ...policyMistakes(document.policies, undefined, undefined),
  ]
  const whole: Record<string, string | undefined> = { ...env }
  for (const key of KEYS) {
    const setting = settingOf(key)
    const elsewhere = findGiven(setting, undefined, env, false)
    if (elsewhere && 'message' in elsewhere) continue
    const found = together(key, elsewhere, document, mistakes)
    if (found && !elsewhere) whole[setting.env] = found.text
  }
  if (mistakes.length > 0) return { ok: false, mistakes }
  return { ok: true, env: whole, policies: policyEntries(document.policies) }
}

type Held =
  | { readonly ok: true; readonly text: string; readonly closing: string | undefined }
  | { readonly ok: false; readonly mistake: Mistake }

/** Uses one descriptor, so that the checked file is the one that is read. */
function readDocument(path: string, name: string): Held {
  const wrong = (message: string, hint: string): Held => ({
    ok: false,
    mistake: { setting: name, message, hint },
  })
  let file: number | undefined
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const about = fstatSync(file)
    if (!about.isFile()) return wrong('is not a file', 'check the path')
    if (about.size > MAX_DOCUMENT_BYTES) {
      return wrong('is larger than any document', `it may have ${MAX_DOCUMENT_BYTES} bytes`)
    }
    const text = decoded(readFileSync(file))
    if (text === undefined) return wrong('is not UTF-8 text', 'save it as UTF-8')
    // On Windows the mode bits do not say who may read.
    const open = process.platform !== 'win32' && (about.mode & 0o004) !== 0
    return { ok: true, text, closing: open ? closing(path, about) : undefined }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return wrong('is not there', 'check the path')
    return wrong('cannot be read', 'check path and permissions')
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function nothing(mistakes: readonly Mistake[]): FromDocument {
  return {
    whole: false,
    given: new Map(),
    mentioned: new Set(),
    mistakes,
    issuers: [],
    upstreams: [],
    policies: { policies: [], rules: [] },
    fallback: [],
    needed: new Map(),
    excluded: new Map(),
    memberOf,
  }
}
