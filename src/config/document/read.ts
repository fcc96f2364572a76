// Turns a document's tree into settings, or into every mistake at once. This file checks the names of members
// and the places of values.

import { UPSTREAM_KINDS, type UpstreamKind } from '../../names.ts'
import type { FromDocument } from '../from-document.ts'
import { nearest } from '../nearest.ts'
import type { Key } from '../table.ts'
import { type DocumentEntry, settled } from './entries.ts'
import type { ListNode, MapNode, Member, Node } from './node.ts'
import { reporting } from './report.ts'
import { plainOf } from './shapes.ts'
import { entryOf, memberOf, ROOT, type Schema } from './tree.ts'
import { type About, documentValues } from './values.ts'

export function readTree(root: Node, about: About): FromDocument {
  const report = reporting(about.name)
  const { place, wrong } = report
  const values = documentValues(about, report)
  const entries = {
    issuers: [] as DocumentEntry[],
    upstreams: [] as (DocumentEntry & { kind: UpstreamKind })[],
    policies: [] as DocumentEntry[],
    rules: [] as DocumentEntry[],
    fallback: [] as DocumentEntry[],
  }
  const listed = new Map<string, Schema>()
  const opened = (node: Node, from: string): DocumentEntry => ({
    from,
    given: new Map(),
    mentioned: new Set(),
    own: {},
    places: new Map(),
    written: plainOf(node),
  })

  const walk = (node: Node, schema: Schema, path: string, to: DocumentEntry): void => {
    if (schema.setting !== undefined) return take(node, schema, schema.setting, path, to)
    if (schema.own !== undefined) return takeOwn(node, schema, schema.own, path, to)
    const empty = node.kind === 'value' && node.value === null
    if (schema.items) {
      if (node.kind === 'list') return walkEntries(node, schema.items, path)
      if (!empty) wrong(place(node.at, path), 'is not a list', 'begin each entry with "- "')
      return
    }
    if (node.kind === 'map') return walkMembers(node, schema, path, to)
    if (!empty) wrong(place(node.at, path), 'has no members', 'write NAME: VALUE under it')
  }

  const walkMembers = (node: MapNode, schema: Schema, path: string, to: DocumentEntry): void => {
    const known = schema.properties ?? {}
    for (const { name, at, value } of node.members) {
      const member = Object.hasOwn(known, name) ? known[name] : undefined
      const below = path === '' ? name : `${path}.${name}`
      if (member === undefined) unknown({ name, at, value }, Object.keys(known), path)
      // The member that chooses the kind was read before.
      else if (member.const === undefined && !member.forEditors) walk(value, member, below, to)
    }
  }

  const unknown = ({ name, at }: Member, known: readonly string[], path: string): void => {
    const plain = (each: string): string => each.toLowerCase().replaceAll(/[-_]/g, '')
    const near = known.find((each) => plain(each) === plain(name)) ?? nearest(name, known)
    // A text that is not a name may be a misplaced secret.
    const shown = /^[A-Za-z_]{1,30}$/.test(name) ? name : 'a member'
    const below = path === '' || shown === 'a member' ? shown : `${path}.${shown}`
    const hint = near === undefined ? `there are ${known.join(', ')}` : `did you mean ${near}?`
    wrong(place(at, below), 'is not known', hint)
  }

  const walkEntries = (node: ListNode, items: Schema, path: string): void => {
    listed.set(path, items)
    for (const [index, item] of node.items.entries()) {
      const here = `${path}[${index}]`
      const from = place(item.at, here)
      if (item.kind !== 'map') {
        wrong(from, 'has no members', 'write - NAME: VALUE')
        continue
      }
      const kind = items.anyOf ? kindOf(item, here) : undefined
      const schema = entryOf(items, kind)
      if (!schema) continue
      const entry = opened(item, from)
      walkMembers(item, schema, here, entry)
      if (kind) entries.upstreams.push({ ...entry, kind })
      else entries[path as 'issuers' | 'policies' | 'rules' | 'fallback'].push(entry)
    }
  }

  const kindOf = (item: MapNode, path: string): UpstreamKind | undefined => {
    const choices = `give one of ${UPSTREAM_KINDS.join(', ')}`
    const member = item.members.find(({ name }) => name === 'kind')
    if (!member) return wrong(place(item.at, path), 'has no kind', choices)
    const { value } = member
    const kind = UPSTREAM_KINDS.find((each) => value.kind === 'value' && value.value === each)
    return kind ?? wrong(place(value.at, `${path}.kind`), 'is not one of the choices', choices)
  }

  const take = (node: Node, schema: Schema, key: Key, path: string, to: DocumentEntry): void => {
    const from = place(node.at, path)
    const before = to.given.get(key)
    to.mentioned.add(key)
    if (before) return wrong(from, `is given together with ${before.from}`, 'give the secret once')
    const read = schema.secretFile ? values.inFile(node, path) : values.ofSetting(node, key, path)
    if (read) to.given.set(key, { from, ...read })
  }

  const takeOwn = (
    node: Node,
    schema: Schema,
    name: string,
    path: string,
    to: DocumentEntry,
  ): void => {
    to.own[name] = values.ofOwn(node, schema, path)
    if (node.kind !== 'list') return
    for (const [index, { at }] of node.items.entries()) {
      const here = `[${index}]`
      to.places.set(name + here, place(at, path + here))
    }
  }

  const top = opened(root, '')
  walk(root, ROOT, '', top)
  const found = settled(top, entries, listed, report, about.name)
  return { whole: true, ...found, mistakes: report.mistakes, memberOf }
}
