// Random documents: members of the schema and others, values of every type, and texts that are no
// document at all. Nothing throws, a member that is not known never starts a gate, and no value is in
// a mistake.

import { UPSTREAM_KINDS } from '../../src/names.ts'
import { expect, test } from 'bun:test'
import { readInvocation } from '../../src/config/command-line.ts'
import { readText } from '../../src/config/document/open.ts'
import { parseToml } from '../../src/config/document/toml.ts'
import { parseJson, parseYaml } from '../../src/config/document/yaml.ts'
import { entryOf, ROOT, type Schema } from '../../src/config/document/tree.ts'
import type { OpenDocument } from '../../src/config/from-document.ts'
import type { Random } from '../support/random.ts'
import { chance, fuzz, FUZZ_MS } from './fuzz.ts'

const LANGUAGES = { yaml: parseYaml, json: parseJson, toml: parseToml } as const
type Language = keyof typeof LANGUAGES

function invocationOf(text: string, language: Language) {
  const open: OpenDocument = (name, env, devMode) =>
    readText(text, LANGUAGES[language], { name, env, devMode, closing: undefined })
  return readInvocation(['--config', `x.${language}`], ENV, open)
}

/** Enough for a gate, so that an empty document starts one. */
const ENV = {
  JWKS_URL: 'https://id.example/jwks',
  ISSUER: 'https://id.example',
  AUDIENCES: 'gate',
  TINFOIL_API_KEY: 'tk-1',
  IDENTITY_HASH_KEY: '18abc8a3882ad46e9db089d4950cfdbcc5328ae566102983d6d1c0f1b33fa9ee',
}

const CANARY = 'canary4711canary'
const VALUES: readonly unknown[] = [
  0,
  1,
  -1,
  7,
  1.5,
  1e300,
  true,
  false,
  null,
  '',
  ' ',
  'x',
  CANARY,
  '${X}',
  '${',
  '$${',
  '60',
  'info',
  'https://a.example',
  [],
  {},
  [[]],
  [null],
  ['a'],
  [1],
  { a: 1 },
  '\u0000',
  '__proto__',
  '\u202e',
]
const NO_CANARY = VALUES.filter((each) => each !== CANARY)
const NAMES = [
  'x',
  'lissen',
  '__proto__',
  'constructor',
  'toString',
  'kind',
  'settings',
  '<<',
  'é',
  '',
]

/** Whether what was made has a member that the schema has not. */
interface Made {
  unknown: boolean
}

function made(random: Random, schema: Schema, errs: number, about: Made): unknown {
  if (chance(random, errs)) return random.pick(VALUES)
  if (schema.items) {
    return Array.from({ length: random.int(3) }, () => {
      const kind = random.pick(UPSTREAM_KINDS)
      const entry = entryOf(schema.items ?? {}, kind)
      const members = made(random, entry ?? {}, errs, about)
      return schema.items?.anyOf && typeof members === 'object' ? { ...members, kind } : members
    })
  }
  if (!schema.properties) return random.pick(VALUES)
  const map: Record<string, unknown> = {}
  for (const [name, member] of Object.entries(schema.properties)) {
    if (!chance(random, 0.25) || name === '$schema') continue
    // Names that there are stand in hints, for whoever mistyped one.
    map[name] = name === 'name' ? random.pick(NO_CANARY) : made(random, member, errs, about)
  }
  if (chance(random, errs)) {
    const name = random.pick(NAMES)
    if (!Object.hasOwn(schema.properties, name)) about.unknown = true
    Object.defineProperty(map, name, { value: 1, enumerable: true })
  }
  return map
}

test(
  'a document of members and values starts a gate, or says why not',
  fuzz('documents', 100, (random) => {
    const about: Made = { unknown: false }
    const value = made(random, ROOT, chance(random, 0.3) ? 0 : 0.1, about)
    const language = random.pick(['yaml', 'json'] as const)
    const text =
      language === 'yaml' && chance(random, 0.5)
        ? Bun.YAML.stringify(value, null, 2)
        : JSON.stringify(value)
    const read = invocationOf(text, language)
    if (read.kind === 'mistakes') {
      expect(read.mistakes.length).toBeGreaterThan(0)
      expect(JSON.stringify(read.mistakes)).not.toContain(CANARY)
    } else if (about.unknown) throw new Error(`an unknown member started a gate: ${text}`)
  }),
  FUZZ_MS,
)

const PIECES = [
  'listen:',
  'listen = ',
  '[listen]',
  '[[upstreams]]',
  'port: 1',
  'port = 1',
  '\n',
  '\n',
  '\n  ',
  '- ',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  "'",
  '&a',
  '*a',
  '!!x',
  '%YAML 1.1',
  '---',
  '...',
  '#',
  '|',
  '>',
  '\t',
  '\r',
  '? ',
  '<<: ',
  'a.b.c',
  '=',
  '"""',
  '\\',
  '${',
  '\u0000',
  '\ufeff',
  CANARY,
  '1e999',
]

test(
  'a text that may be no document is refused in words, or read',
  fuzz('texts', 200, (random) => {
    const text = Array.from({ length: random.int(30) }, () => random.pick(PIECES)).join('')
    for (const language of ['yaml', 'json', 'toml'] as const) {
      const read = invocationOf(text, language)
      if (read.kind === 'mistakes') expect(JSON.stringify(read.mistakes)).not.toContain(CANARY)
    }
  }),
  FUZZ_MS,
)
