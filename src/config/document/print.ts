// Prints the document that is equivalent to the given settings, without secrets: `postern config`.

import { UPSTREAM_KINDS, type UpstreamKind } from '../../names.ts'
import { stringify } from 'yaml'
import type { Given, Written } from '../given.ts'
import type { Listings, PrintedUpstream } from '../read-values.ts'
import { type Key, settingOf } from '../table.ts'
import { escaped } from './expand.ts'
import { type Path, PATHS, ROOT } from './tree.ts'

export const SCHEMA_LINE = '# yaml-language-server: $schema=./postern.schema.json'

export interface Printable {
  /** Without secrets. */
  readonly given: ReadonlyMap<Key, Given>
  readonly listed: Listings
}

/** In the order of the schema, without settings that have their default. */
export function printDocument({ given, listed }: Printable): string {
  const root: Record<string, unknown> = {}
  const unused: Key[] = []
  for (const [key, path] of PATHS) {
    const found = given.get(key)
    if (!found) continue
    const kind = kindAt(path)
    if (kind !== undefined) {
      if (!listed.upstreams.some((each) => each.kind === kind)) unused.push(key)
      continue
    }
    if (!given.has('devMode') && !isChosen(path, given, listed.issuers.length > 0)) {
      unused.push(key)
      continue
    }
    write(root, path, writtenOf(key, found))
  }
  const { issuers, policies, rules, fallback } = listed
  const upstreams = listed.upstreams
    .map((each, at) => upstreamEntry(each, suffixOf(each, at, listed.upstreams)))
    .filter((each) => each !== undefined)
  if (upstreams.length > 0) root['upstreams'] = upstreams
  if (issuers.length > 1) root['issuers'] = issuers.map(({ written }) => written)
  if (fallback.length > 0) root['fallback'] = fallback.map(({ written }) => written)
  if (policies.length > 0) root['policies'] = policies.map(({ written }) => written)
  if (rules.length > 0) root['rules'] = rules.map(({ written }) => written)
  const [issuer] = (root['issuers'] ?? []) as Record<string, unknown>[]
  // The fixed members of an issuer that comes from the environment.
  if (issuer && issuers.length === 0) issuer['scope'] = { claims: ['scope'], text_only: true }
  else if (issuer) Object.assign(issuer, { ...(issuers[0]?.written as object), ...issuer })
  const ordered = Object.keys(ROOT.properties ?? {}).filter((name) => root[name] !== undefined)
  const whole = Object.fromEntries(ordered.map((name) => [name, root[name]]))
  const text = Object.keys(root).length === 0 ? '{}\n' : stringify(whole, { lineWidth: 0 })
  return `${SCHEMA_LINE}\n${notes(given, unused)}${text}`
}

function notes(given: ReadonlyMap<Key, Given>, unused: readonly Key[]): string {
  const mode = '# DEV_MODE has no place in a document: give it beside this.\n'
  const names = unused.map((key) => `# ${settingOf(key).env} is given and has no use here.\n`)
  return (given.has('devMode') ? mode : '') + names.join('')
}

const kindAt = (path: Path): UpstreamKind | undefined =>
  path[0] === 'upstreams' ? UPSTREAM_KINDS.find((each) => path[1] === `[${each}]`) : undefined

/** For the variable names of one entry among several: each has its own secrets. */
function suffixOf(
  { kind, own, isOneOfSeveral }: PrintedUpstream,
  at: number,
  all: readonly PrintedUpstream[],
): string {
  if (!isOneOfSeveral) return ''
  const worded = (name = ''): string => `_${name.toUpperCase().replaceAll(/\W/g, '_')}`
  const suffix = worded(own.name)
  const isTaken = all
    .slice(0, at)
    .some((each) => each.kind === kind && worded(each.own.name) === suffix)
  return isTaken ? `${suffix}_${at}` : suffix
}

/** Undefined if the upstream exists by default and nothing was set. */
function upstreamEntry({ kind, own, given }: PrintedUpstream, suffix: string): object | undefined {
  const entry: Record<string, unknown> = { kind, ...(own.name !== undefined && { name: own.name }) }
  for (const [key, path] of PATHS) {
    const found = kindAt(path) === kind ? given.get(key) : undefined
    if (found) write(entry, path.slice(2), writtenOf(key, found, suffix))
  }
  if (own.models) entry['models'] = own.models.map(escaped)
  if (own.askModels !== undefined) entry['ask_models'] = own.askModels
  return Object.keys(entry).length > 1 ? entry : undefined
}

/** Undefined if nothing was set: an empty entry would be an issuer that does not exist. */
function isChosen(path: Path, given: ReadonlyMap<Key, Given>, listed: boolean): boolean {
  if (!path.some((each) => each.startsWith('['))) return true
  // An issuer of the environment needs a key set; one of a document could use discovery instead.
  return listed || (given.has('issuer') && given.has('jwksUrl') && given.has('audiences'))
}

const fileOf = (path: Path): Path => [...path.slice(0, -1), `${path.at(-1)}_file`]

type Printed =
  { readonly value: string | number | boolean | readonly string[] } | { readonly file: string }

function write(to: Record<string, unknown>, path: Path, printed: Printed): void {
  if ('file' in printed) put(to, fileOf(path), printed.file)
  else put(to, path, printed.value)
}

/** `suffix` keeps the variable of a secret apart from those of other entries. */
function writtenOf(key: Key, { text, written }: Given, suffix = ''): Printed {
  const { kind, secret, env } = settingOf(key)
  const { type } = kind.shape
  if (secret) return withoutSecret(written, env + suffix, type === 'array')
  if (written) return written
  if (type === 'integer' || type === 'number') return { value: Number(text) }
  if (type === 'boolean') return { value: kind.read(text).ok && isTrue(kind.read(text)) }
  if (type === 'string') return { value: escaped(text) }
  const entries = text.split(',').map((each) => escaped(each.trim()))
  return { value: entries.filter((each) => each !== '') }
}

const isTrue = (read: object): boolean => 'value' in read && read.value === true

/** The reference that was written; a literal secret becomes a reference to its variable. */
function withoutSecret(written: Written | undefined, env: string, list: boolean): Printed {
  const reference = `\${${env}}`
  if (written && 'file' in written) return { file: written.file }
  const values = written ? [written.value].flat() : []
  const shown = values.length > 0 && values.every(isReference) ? values : [reference]
  return { value: list ? shown : (shown[0] ?? reference) }
}

const isReference = (text: string): boolean => /^(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})+$/.test(text)

/** `[name]` opens a list and its one entry of that kind; `[]` opens an entry without a kind. */
function put(root: Record<string, unknown>, path: Path, value: unknown): void {
  let here = root
  for (const [at, step] of path.entries()) {
    const next = path[at + 1]
    if (step.startsWith('[')) continue
    if (next === undefined) here[step] = value
    else if (next.startsWith('[')) here = entry(here, step, next.slice(1, -1))
    else here = (here[step] ??= {}) as Record<string, unknown>
  }
}

function entry(map: Record<string, unknown>, name: string, kind: string): Record<string, unknown> {
  const list = (map[name] ??= []) as Record<string, unknown>[]
  const known = list.find((each) => kind === '' || each['kind'] === kind)
  if (known) return known
  const made = kind === '' ? {} : { kind }
  list.push(made)
  return made
}
