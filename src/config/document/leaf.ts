// The members of a document: a setting of the table, with its description and range, or a member that only a
// document has.

import { t } from 'elysia'
import { type Kind, NAME as NAMED } from '../kinds.ts'
import { type Key, settingOf } from '../table.ts'

/** Our own members of a TypeBox schema; JSON Schema allows unknown ones. */
export interface Leaf {
  readonly setting?: Key
  /** `name_file` names the file that holds `name`. */
  readonly secretFile?: true
  /** For a member that only a document has: its name in the entry. */
  readonly own?: string
  readonly hint?: string
  /** For a number that only a document has; a reference may replace it. */
  readonly number?: NumberShape
  /** This program ignores it. */
  readonly forEditors?: true
}

export interface NumberShape {
  readonly type: 'integer' | 'number'
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum: number
}

const REFERENCE = '\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}'

/** A reference may replace any value; its text is read like that of the setting's variable. */
function shapeOf({ shape }: Kind<unknown>): object {
  const reference = { type: 'string', pattern: `^${REFERENCE}$` }
  if (shape.type === 'string') {
    return shape.enum ? { anyOf: [shape, reference] } : shape
  }
  if (shape.type === 'array') {
    return { anyOf: [{ type: 'array', items: { type: 'string' }, minItems: 1 }, reference] }
  }
  return { anyOf: [shape, reference] }
}

function fallbackOf(key: Key): object {
  const { fallback, kind } = settingOf(key)
  if (fallback === undefined) return {}
  const { type } = kind.shape
  if (type === 'array') return { default: fallback.split(',') }
  return { default: type === 'string' ? fallback : (JSON.parse(fallback) as unknown) }
}

export function leaf(key: Key, about?: string) {
  const setting = settingOf(key)
  const described = { description: about ?? setting.about, ...fallbackOf(key) }
  return t.Optional(t.Unsafe({ ...shapeOf(setting.kind), ...described, setting: key }))
}

/** A secret: under its name as `${VARIABLE}`, or in a file. */
export function secret<const Name extends string>(name: Name, key: Key, about?: string) {
  const { env } = settingOf(key)
  const file = t.String({
    description: `The file that holds ${name}.`,
    setting: key,
    secretFile: true,
  })
  return {
    [name]: leaf(key, `${about ?? settingOf(key).about} As \${${env}}, or by ${name}_file.`),
    [`${name}_file`]: t.Optional(file),
  }
}

export const CLOSED = { additionalProperties: false }

export const section = (members: Parameters<typeof t.Object>[0], description: string) =>
  t.Optional(t.Object(members, { ...CLOSED, description }))

export const some = (own: string, from: readonly string[], description: string) =>
  t.Optional(
    t.Array(t.Unsafe<string>({ type: 'string', enum: from }), {
      minItems: 1,
      description,
      own,
      hint: `give some of ${from.join(', ')}`,
    }),
  )

/** A member that only a document has, and its name in the entry. */
export const own = (own: string, description: string, shape: object, hint: string) =>
  t.Optional(t.Unsafe<never>({ ...shape, description, own, hint }))
export const number = (name: string, shape: NumberShape, description: string) => {
  const { type, minimum, exclusiveMinimum = 0, maximum } = shape
  const least = minimum === undefined ? `above ${exclusiveMinimum}` : `from ${minimum}`
  const hint = `give a ${type === 'integer' ? 'whole ' : ''}number ${least} to ${maximum}`
  const anyOf = [shape, { type: 'string', pattern: `^${REFERENCE}$` }]
  return own(name, description, { anyOf, number: shape }, hint)
}
/** A list of them. */
export const numbers = (
  name: string,
  shape: NumberShape & { minimum: number },
  description: string,
) =>
  t.Optional(
    t.Array(t.Unsafe<number>({ ...shape, number: shape }), {
      minItems: 1,
      description,
      own: name,
      hint: `give numbers from ${shape.minimum} to ${shape.maximum}`,
    }),
  )
export const NAME = { type: 'string', pattern: NAMED.source }
/** As in src/token/model-pattern.ts. */
export const MODEL = { type: 'string', maxLength: 256, pattern: '^(?=.)[!-)+-~]*\\*?$' }
const MODEL_HINT = 'give names, or beginnings with a trailing *'
export const MODELS = t.Optional(
  t.Array(t.Unsafe<string>(MODEL), {
    minItems: 1,
    description: 'Names, or prefixes with a trailing *; default all.',
    own: 'models',
    hint: MODEL_HINT,
  }),
)
export const WORD = { type: 'string', pattern: '^[^\\u0000-\\u001f\\u007f]{1,256}$' }
export const USD: NumberShape = { type: 'number', exclusiveMinimum: 0, maximum: 999_999_999 }
export const upTo = (minimum: number, maximum: number): NumberShape & { minimum: number } => ({
  type: 'integer',
  minimum,
  maximum,
})
