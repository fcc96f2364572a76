// Describes a part of a document in words, and as a plain value.

import type { IssuerOwn } from '../issuers.ts'
import type { Node, ValueNode } from './node.ts'

/** `scope.name` → `{ scope: { name } }`. */
export function nested(own: Readonly<Record<string, unknown>>): IssuerOwn {
  const made: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(own)) {
    const [first = '', second] = name.split('.')
    if (second === undefined) made[first] = value
    else made[first] = { ...(made[first] as object | undefined), [second]: value }
  }
  return made
}

export function plainOf(node: Node): unknown {
  if (node.kind === 'value') return node.value
  if (node.kind === 'list') return node.items.map(plainOf)
  return Object.fromEntries(node.members.map(({ name, value }) => [name, plainOf(value)]))
}

export const LIST = 'write [one, another], or an entry a line'

export function asText(type: string): [message: string, hint: string] {
  if (type === 'array') return ['is one text, and no list', LIST]
  if (type === 'boolean') return ['is text', 'write true or false, without quotes']
  return ['is text, and no number', 'write the number without quotes']
}

export function instead(value: ValueNode['value'], type: string): [message: string, hint: string] {
  if (value === undefined) return ['is a value of no kind that settings have', 'put it in quotes']
  const is = typeof value === 'boolean' ? 'is true or false' : 'is a number'
  if (type === 'string') return [`${is}, and no text`, 'put it in quotes']
  if (type === 'array') return [`${is}, and no list`, LIST]
  return type === 'boolean'
    ? ['is a number', 'write true or false']
    : ['is true or false, and no number', 'give a number']
}
