// From a document's tree to what it gives for each setting, or to every mistake at once: names, types
// and places are judged here, values by the kinds that judge a variable. What was written is not
// repeated in a mistake: it may be a secret, in its place or by a slip out of it.

import { UPSTREAM_KINDS } from '../../names.ts'
import type { FromDocument } from '../from-document.ts'
import type { Environment, Given } from '../given.ts'
import type { Mistake } from '../kinds.ts'
import { ISSUER_KEYS, type IssuerGiven } from '../issuers.ts'
import { nearest } from '../nearest.ts'
import { readSecretFile } from '../secret-file.ts'
import type { Listed, PolicyEntry, RuleEntry } from '../policies.ts'
import { type Key, settingOf } from '../table.ts'
import { expand } from './expand.ts'
import type { ListNode, MapNode, Member, Node, Position } from './node.ts'
import type { NumberShape } from './leaf.ts'
import { asText, instead, LIST, nested, plainOf } from './shapes.ts'
import { CHOOSES } from './upstream-schema.ts'
import { entryOf, memberOf, ROOT, type Schema, settingsIn } from './tree.ts'

export interface About {
  /** The file, as a mistake names it. */
  readonly name: string
  readonly env: Environment
  readonly devMode: boolean
  /** What closes the file, where others on this machine may read it. */
  readonly closing: string | undefined
}

/** What an issuer is nothing without. */
const ISSUER_NEEDS = [
  ['issuer', 'issuer'],
  ['audiences', 'audiences'],
] as const satisfies readonly (readonly [Key, string])[]

export function readTree(root: Node, about: About): FromDocument {
  const given = new Map<Key, Given>()
  const mentioned = new Set<Key>()
  const mistakes: Mistake[] = []
  const needed = new Map<Key, { from: string; member: string }>()
  const excluded = new Map<Key, string>()
  const issuers: IssuerGiven[] = []
  const policies: Listed<PolicyEntry>[] = []
  const rules: Listed<RuleEntry>[] = []
  /** Where the values of the entry go that is being read. */
  let target = { given, mentioned, own: {} as Record<string, unknown> }

  const place = ({ line, column }: Position, path: string): string =>
    `${about.name}:${line}:${column}${path === '' ? '' : ` ${path}`}`
  const wrong = (from: string, message: string, hint: string): undefined => {
    mistakes.push({ setting: from, message, hint })
  }

  const walk = (node: Node, schema: Schema, path: string): void => {
    if (schema.setting !== undefined) return take(node, schema, schema.setting, path)
    if (schema.own !== undefined) return takeOwn(node, schema, schema.own, path)
    const empty = node.kind === 'value' && node.value === null
    if (schema.items) {
      if (node.kind === 'list') return walkEntries(node, schema.items, path)
      if (!empty) wrong(place(node.at, path), 'is no list', 'begin each entry with "- "')
      return
    }
    if (node.kind === 'map') return walkMembers(node, schema, path)
    if (!empty) wrong(place(node.at, path), 'has no members', 'write NAME: VALUE under it')
  }

  const walkMembers = (node: MapNode, schema: Schema, path: string): void => {
    const known = schema.properties ?? {}
    for (const { name, at, value } of node.members) {
      const member = Object.hasOwn(known, name) ? known[name] : undefined
      const below = path === '' ? name : `${path}.${name}`
      if (member === undefined) unknown({ name, at, value }, Object.keys(known), path)
      // A member that chooses its entry has been read by then.
      else if (member.const === undefined && !member.forEditors) walk(value, member, below)
    }
  }

  const unknown = ({ name, at }: Member, known: readonly string[], path: string): void => {
    const plain = (each: string): string => each.toLowerCase().replaceAll(/[-_]/g, '')
    const near = known.find((each) => plain(each) === plain(name)) ?? nearest(name, known)
    // What looks like no name may be a value that has slipped there.
    const shown = /^[A-Za-z_]{1,30}$/.test(name) ? name : 'a member'
    const below = path === '' || shown === 'a member' ? shown : `${path}.${shown}`
    const hint = near === undefined ? `there are ${known.join(', ')}` : `did you mean ${near}?`
    wrong(place(at, below), 'is not known', hint)
  }

  const walkEntries = (node: ListNode, items: Schema, path: string): void => {
    const seen = new Set<string>()
    for (const [index, item] of node.items.entries()) {
      const here = `${path}[${index}]`
      const from = place(item.at, here)
      if (item.kind !== 'map') {
        wrong(from, 'has no members', 'write - NAME: VALUE')
        continue
      }
      const kind = items.anyOf ? kindOf(item, here) : ''
      if (kind === undefined) continue
      if (kind !== '' && seen.has(kind)) {
        const hint = 'one of a kind is all that this version serves; leave one'
        wrong(from, `is a second upstream of kind ${kind}`, hint)
        continue
      }
      seen.add(kind)
      const entry = entryOf(items, kind)
      if (kind === '') walkEntry(item, items, path, here, from)
      else if (entry) walkMembers(item, entry, here)
      if (kind !== '' || path === 'issuers') need(kind, from)
    }
    if (path === 'issuers') settleIssuers(path)
    for (const entry of items.anyOf ?? [items]) {
      const kind = entry.properties?.['kind']?.const ?? ''
      if (seen.has(kind)) continue
      const what = kind === '' ? 'no issuer' : `no upstream of kind ${kind}`
      const why = `${about.name} lists ${what} under ${path}`
      for (const key of settingsIn(entry)) excluded.set(key, why)
    }
  }

  const walkEntry = (
    item: MapNode,
    schema: Schema,
    list: string,
    path: string,
    from: string,
  ): void => {
    const before = target
    const own: Record<string, unknown> = {}
    const within = new Map<Key, Given>()
    target = { given: within, mentioned: new Set(), own }
    walkMembers(item, schema, path)
    for (const key of target.mentioned) mentioned.add(key)
    target = before
    const made = { from, given: within, own: nested(own), written: plainOf(item) }
    if (list === 'issuers') issuers.push(made)
    else if (list === 'policies') policies.push(made as Listed<PolicyEntry>)
    else rules.push(made as Listed<RuleEntry>)
  }

  /** One alone may be completed from elsewhere; several are whole as they stand. */
  const settleIssuers = (path: string): void => {
    const [one] = issuers
    if (!one) return
    if (issuers.length === 1) {
      for (const [key, each] of one.given) given.set(key, each)
      mentioned.add('jwksUrl')
      return
    }
    const why = `${about.name} lists several issuers under ${path}`
    for (const key of ISSUER_KEYS) excluded.set(key, why)
    for (const { from, given: has } of issuers) {
      for (const [key, member] of ISSUER_NEEDS) {
        if (!has.has(key)) wrong(from, `lacks ${member}`, settingOf(key).about)
      }
    }
    needed.clear()
    for (const key of ['issuer', 'jwksUrl', 'audiences'] as const) mentioned.add(key)
  }

  const kindOf = (item: MapNode, path: string): string | undefined => {
    const choices = `give one of ${UPSTREAM_KINDS.join(', ')}`
    const member = item.members.find(({ name }) => name === 'kind')
    if (!member) return wrong(place(item.at, path), 'has no kind', choices)
    const { value } = member
    const kind = UPSTREAM_KINDS.find((each) => value.kind === 'value' && value.value === each)
    return kind ?? wrong(place(value.at, `${path}.kind`), 'is not one of the choices', choices)
  }

  const need = (kind: string, from: string): void => {
    const chosen = UPSTREAM_KINDS.find((each) => each === kind)
    if (chosen) {
      const key = CHOOSES[chosen]
      needed.set(key, { from, member: memberOf(key)?.replace(/^.*\./, '') ?? '' })
    } else for (const [key, member] of ISSUER_NEEDS) needed.set(key, { from, member })
  }

  const take = (node: Node, schema: Schema, key: Key, path: string): void => {
    const from = place(node.at, path)
    const before = target.given.get(key)
    target.mentioned.add(key)
    if (before) return wrong(from, `is given together with ${before.from}`, 'give the secret once')
    const read = schema.secretFile ? inFile(node, from) : valueOf(node, key, path)
    if (read) target.given.set(key, { from, ...read })
  }

  /** What no variable can say; a reference stands for its text all the same. */
  const takeOwn = (node: Node, schema: Schema, name: string, path: string): void => {
    const from = place(node.at, path)
    if (schema.type === 'boolean') {
      if (node.kind === 'value' && typeof node.value === 'boolean') target.own[name] = node.value
      else wrong(from, 'is neither true nor false', 'write true or false, without quotes')
      return
    }
    if (schema.number) {
      target.own[name] = numberOf(node, schema.number, schema.hint ?? '', from)
      return
    }
    if (schema.type === 'string') {
      target.own[name] = fitting(node, schema, schema, path)
      return
    }
    if (node.kind !== 'list') return wrong(from, 'is no list', LIST)
    if (node.items.length === 0) return wrong(from, 'is an empty list', 'give at least one')
    target.own[name] = node.items.map((item, index) =>
      fitting(item, schema.items ?? {}, schema, `${path}[${index}]`),
    )
  }

  const numberOf = (node: Node, shape: NumberShape, hint: string, from: string) => {
    const written = node.kind === 'value' ? node.value : undefined
    const text = typeof written === 'string' ? textOf(node, from) : undefined
    if (typeof written === 'string' && !text) return undefined
    if (text && !text.referenceOnly) return wrong(from, ...asText('number'))
    const digits = shape.type === 'integer' ? /^\d{1,15}$/ : /^\d{1,9}(?:\.\d{1,6})?$/
    const number = text?.text ?? (typeof written === 'number' ? String(written) : '')
    const { minimum = 0, exclusiveMinimum = -1, maximum } = shape
    const value = digits.test(number) ? Number(number) : Number.NaN
    const fits = value >= minimum && value > exclusiveMinimum && value <= maximum
    return fits ? value : wrong(from, 'is not a number in range', hint)
  }

  const fitting = (node: Node, shape: Schema, { hint }: Schema, path: string) => {
    const from = place(node.at, path)
    const text = textOf(node, from)?.text
    if (text === undefined) return undefined
    if (shape.enum && !shape.enum.includes(text)) {
      return wrong(from, 'is not one of the choices', hint ?? '')
    }
    const pattern = shape.pattern === undefined ? undefined : new RegExp(shape.pattern)
    const fits = (pattern?.test(text) ?? true) && text.length <= (shape.maxLength ?? text.length)
    return !fits ? wrong(from, 'does not fit', hint ?? '') : text
  }

  const inFile = (node: Node, from: string): Omit<Given, 'from'> | undefined => {
    const path = textOf(node, from)
    if (path === undefined) return undefined
    const held = readSecretFile(path.text, about.devMode)
    if (!held.ok) return wrong(from, held.message, held.hint)
    return { text: held.value, written: { file: path.raw } }
  }

  const valueOf = (node: Node, key: Key, path: string): Omit<Given, 'from'> | undefined => {
    const from = place(node.at, path)
    const { kind, secret } = settingOf(key)
    const { type } = kind.shape
    if (type === 'array' && node.kind === 'list') return listOf(node, secret === true, key, path)
    if (node.kind !== 'value') {
      return wrong(from, 'is a list or has members', type === 'array' ? LIST : 'give one value')
    }
    const { value } = node
    if (value === null) return wrong(from, 'is empty', 'give a value, or leave it out')
    if (typeof value === 'string') {
      const text = textOf(node, from)
      if (text === undefined || !mayStand(text, secret === true, key, from)) return undefined
      if (type !== 'string' && !text.referenceOnly) return wrong(from, ...asText(type))
      return { text: text.text, written: { value: text.raw } }
    }
    if (type === 'boolean' && typeof value === 'boolean') return { text: String(value) }
    if ((type === 'integer' || type === 'number') && typeof value === 'number') {
      return { text: String(value) }
    }
    return wrong(from, ...instead(value, type))
  }

  const listOf = (
    node: ListNode,
    secret: boolean,
    key: Key,
    path: string,
  ): Omit<Given, 'from'> | undefined => {
    if (node.items.length === 0) {
      return wrong(place(node.at, path), 'is an empty list', 'give at least one')
    }
    const entries = node.items.map((item, index) => {
      const there = place(item.at, `${path}[${index}]`)
      const text = textOf(item, there)
      if (text === undefined || !mayStand(text, secret, key, there)) return undefined
      if (text.text.trim() === '') return wrong(there, 'is empty', 'leave the entry out')
      if (!text.referenceOnly && text.text.includes(',')) {
        return wrong(there, 'has a comma', 'give each entry by itself')
      }
      return text
    })
    const all = entries.filter((each) => each !== undefined)
    if (all.length < entries.length) return undefined
    const text = all.map((each) => each.text).join(',')
    return { text, written: { value: all.map(({ raw }) => raw) } }
  }

  interface Text {
    readonly raw: string
    readonly text: string
    readonly referenceOnly: boolean
  }

  const textOf = (node: Node, from: string): Text | undefined => {
    if (node.kind !== 'value') return wrong(from, 'is a list or has members', 'give one value')
    const { value } = node
    if (value === null) return wrong(from, 'is empty', 'give a value, or leave it out')
    if (typeof value !== 'string') return wrong(from, ...instead(value, 'string'))
    const expanded = expand(value, about.env)
    if (!expanded.ok) return wrong(from, expanded.message, expanded.hint)
    return { raw: value, text: expanded.text, referenceOnly: expanded.referenceOnly }
  }

  const mayStand = (text: Text, secret: boolean, key: Key, from: string): boolean => {
    if (!secret || text.referenceOnly || about.closing === undefined) return true
    // A proxy without a password is no secret.
    if (key === 'upstreamProxy' && !text.text.includes('@')) return true
    const message = 'is a secret in a file that everybody on this machine can read'
    wrong(from, message, `${about.closing}; or give \${NAME}, or the secret's own file`)
    return false
  }

  walk(root, ROOT, '')
  return {
    whole: true,
    given,
    mentioned,
    mistakes,
    issuers,
    policies: { policies, rules },
    needed,
    excluded,
    memberOf,
  }
}
