// Turns a node into a value. This file checks types; the kinds that check a variable check the value. A
// reference is replaced by the text of its variable.

import type { ProcessEnvironment, Given } from '../given.ts'
import { readSecretFile } from '../secret-file.ts'
import { type Key, settingOf } from '../table.ts'
import { expand } from './expand.ts'
import type { NumberShape } from './leaf.ts'
import type { ListNode, Node } from './node.ts'
import type { Report } from './report.ts'
import { asText, instead, LIST } from './shapes.ts'
import type { Schema } from './tree.ts'

export interface About {
  /** The file's name in mistakes. */
  readonly name: string
  readonly env: ProcessEnvironment
  readonly devMode: boolean
  /** The command that makes the file private, if others on this machine may read it. */
  readonly closing: string | undefined
}

type Value = Omit<Given, 'from'>

export interface DocumentValues {
  /** Undefined after a mistake, which it reports. */
  ofSetting(node: Node, key: Key, path: string): Value | undefined
  /** The secret in the file that `NAME_file` names. */
  inFile(node: Node, path: string): Value | undefined
  /** A value that no variable can give. */
  ofOwn(node: Node, schema: Schema, path: string): unknown
}

interface Text {
  readonly raw: string
  readonly text: string
  readonly referenceOnly: boolean
}

export function documentValues(about: About, { place, wrong }: Report): DocumentValues {
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
    // A proxy without a password is not secret.
    if (key === 'upstreamProxy' && !text.text.includes('@')) return true
    const message = 'is a secret in a file that everybody on this machine can read'
    wrong(from, message, `${about.closing}; or give \${NAME}, or the secret's own file`)
    return false
  }

  const listOf = (node: ListNode, secret: boolean, key: Key, path: string): Value | undefined => {
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

  const fitting = (node: Node, shape: Schema, { hint = '' }: Schema, path: string) => {
    const from = place(node.at, path)
    const text = textOf(node, from)?.text
    if (text === undefined) return undefined
    if (shape.enum && !shape.enum.includes(text))
      return wrong(from, 'is not one of the choices', hint)
    const pattern = shape.pattern === undefined ? undefined : new RegExp(shape.pattern)
    const fits = (pattern?.test(text) ?? true) && text.length <= (shape.maxLength ?? text.length)
    return fits ? text : wrong(from, 'does not fit', hint)
  }

  return {
    ofSetting(node, key, path) {
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
    },

    inFile(node, path) {
      const from = place(node.at, path)
      const named = textOf(node, from)
      if (named === undefined) return undefined
      const held = readSecretFile(named.text, about.devMode)
      if (!held.ok) return wrong(from, held.message, held.hint)
      return { text: held.value, written: { file: named.raw } }
    },

    ofOwn(node, schema, path) {
      const from = place(node.at, path)
      if (schema.type === 'boolean') {
        if (node.kind === 'value' && typeof node.value === 'boolean') return node.value
        return wrong(from, 'is neither true nor false', 'write true or false, without quotes')
      }
      if (schema.number) return numberOf(node, schema.number, schema.hint ?? '', from)
      if (schema.type === 'string') return fitting(node, schema, schema, path)
      if (node.kind !== 'list') return wrong(from, 'is not a list', LIST)
      if (node.items.length === 0) return wrong(from, 'is an empty list', 'give at least one')
      const { items = {}, hint = '' } = schema
      return node.items.map((item, index) => {
        const there = `${path}[${index}]`
        return items.number
          ? numberOf(item, items.number, hint, place(item.at, there))
          : fitting(item, items, schema, there)
      })
    },
  }
}
