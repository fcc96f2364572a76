// The kinds of settings: which texts are valid, and the values that they become. Pure: a kind reads no
// file and no environment. An invalid text is a mistake with a hint, never a silent default.

import { readDuration } from '../turn/duration.ts'

export interface Mistake {
  /** The setting's name as it was given: `PORT` or `--port`. */
  readonly setting: string
  readonly message: string
  readonly hint: string
}

export type Read<T> = { readonly ok: true; readonly value: T } | NotRead
export interface NotRead {
  readonly ok: false
  readonly message: string
  readonly hint: string
}

/** The JSON Schema of such a value in a document. */
export interface Shape {
  readonly type: 'integer' | 'number' | 'boolean' | 'string' | 'array'
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly enum?: readonly string[]
}

export const LIST: Shape = { type: 'array' }
export const TEXT: Shape = { type: 'string' }

export interface Kind<T> {
  /** Shown after the flag by `--help`: `<seconds>`. */
  readonly placeholder: string
  readonly shape: Shape
  readonly read: (text: string) => Read<T>
}

export const value = <T>(value: T): Read<T> => ({ ok: true, value })
export const wrong = (message: string, hint: string): NotRead => ({ ok: false, message, hint })

export function integer(min: number, max: number, placeholder = '<number>'): Kind<number> {
  return {
    placeholder,
    shape: { type: 'integer', minimum: min, maximum: max },
    read: (text) => {
      const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
      if (number >= min && number <= max) return value(number)
      return wrong('is not a whole number in range', `give a whole number from ${min} to ${max}`)
    },
  }
}

export const flag: Kind<boolean> = {
  placeholder: '[true|false]',
  shape: { type: 'boolean' },
  read: (text) => {
    if (/^(true|1|yes|on)$/i.test(text)) return value(true)
    if (/^(false|0|no|off)$/i.test(text)) return value(false)
    return wrong('is neither true nor false', 'give true or false')
  },
}

/** A longer one would leave `--help` no room for the description. */
const MAX_PLACEHOLDER = 30

function shown(choices: readonly string[]): string {
  const all = choices.join('|')
  return all.length > MAX_PLACEHOLDER ? 'name' : all
}

export function oneOf<const T extends string>(...choices: T[]): Kind<T> {
  return {
    placeholder: `<${shown(choices)}>`,
    shape: { type: 'string', enum: choices },
    read: (text) => {
      const found = choices.find((choice) => choice === text)
      return found === undefined
        ? wrong('is not one of the choices', `give one of ${choices.join(', ')}`)
        : value(found)
    },
  }
}

/** Some of these, separated by commas; duplicates count once. */
export function someOf<const T extends string>(...choices: T[]): Kind<readonly T[]> {
  const { read, ...kind } = listOf(`<${shown(choices)},...>`, undefined, '')
  return {
    ...kind,
    read(text) {
      const entries = read(text)
      if (!entries.ok) return entries
      const found = choices.filter((choice) => entries.value.includes(choice))
      return found.length === new Set(entries.value).size
        ? value(found)
        : wrong('names what is not one of the choices', `give some of ${choices.join(', ')}`)
    },
  }
}

export function text(placeholder: string): Kind<string> {
  return {
    placeholder,
    shape: TEXT,
    read: (text) =>
      text.trim() === '' ? wrong('is empty', 'give a value, or leave it out') : value(text),
  }
}

/** Separated by commas and trimmed; empty entries are dropped, and an empty list is a mistake. */
export function list(
  placeholder: string,
  entry?: { test(entry: string): boolean },
  hint = '',
): Kind<readonly string[]> {
  const mistake = entry && ((each: string) => (entry.test(each) ? undefined : 'does not fit'))
  return listOf(placeholder, mistake, hint)
}

/** The same, with a reason for each invalid entry. */
export function listOf(
  placeholder: string,
  mistake: ((entry: string) => string | undefined) | undefined,
  hint: string,
): Kind<readonly string[]> {
  return {
    placeholder,
    shape: LIST,
    read: (text) => {
      const entries = text
        .split(',')
        .map((entry) => entry.trim())
        .filter((entry) => entry !== '')
      if (entries.length === 0) return wrong('is an empty list', 'give at least one, by commas')
      const bad = entries.flatMap((each, index) => {
        const why = mistake?.(each)
        return why === undefined ? [] : [`entry ${index + 1} ${why}`]
      })
      if (bad.length === 0) return value(entries)
      const shown = bad.slice(0, MAX_SHOWN).join('; ')
      const rest = bad.length > MAX_SHOWN ? `; and ${bad.length - MAX_SHOWN} more` : ''
      return wrong(`has mistakes in its list: ${shown}${rest}`, hint)
    },
  }
}

/** The number of mistakes shown for one list. */
const MAX_SHOWN = 5

/** US dollars, as whole micro-dollars, in which prices and caps are counted. */
export const dollars: Kind<number> = {
  placeholder: '<usd>',
  shape: { type: 'number', exclusiveMinimum: 0 },
  read: (text) => {
    const usd = /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Number(text) : 0
    return usd > 0
      ? value(usd)
      : wrong('is not an amount of US dollars', 'give a number above 0, as in 25 or 0.50')
  },
}

/** In seconds; `word` is an alternative text and its value. */
export function duration(
  maxDays: number,
  [word, worth]: readonly [word: string, seconds: number] = ['', 0],
): Kind<number> {
  const or = word === '' ? '' : `, or ${word}`
  return {
    placeholder: '<90d>',
    shape: TEXT,
    read: (text) => {
      const seconds = word !== '' && text === word ? worth : readDuration(text, maxDays)
      return seconds === undefined
        ? wrong(
            'is not a valid time',
            `give minutes, hours or days as in 30m, 12h, 90d, to ${maxDays}d${or}`,
          )
        : value(seconds)
    },
  }
}

/** The form of names in a document. */
export const NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/
export const NAME_HINT = 'give letters a to z, digits, and _ . - between them'

/** The name of a policy; policies.ts checks that it exists. */
export const policyName: Kind<string> = {
  placeholder: '<name>',
  shape: TEXT,
  read: (text) => (NAME.test(text) ? value(text) : wrong('is not a policy name', NAME_HINT)),
}

export const notYet: Kind<string> = {
  placeholder: '<url>',
  shape: TEXT,
  read: () => wrong('is not supported yet', 'leave it out; each gate counts for itself'),
}
